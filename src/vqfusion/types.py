"""The nouns that every room shares.

Axis legend, used in names, comments and jaxtyping annotations:
B batch, C channels, T time (samples or frames), H height, W width, D depth of a volume or
width of a vector (the context tells), N positions, K codebook size, L tokens of a sequence.
Masks are True where something is real, never inverted.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.errors import UserError

__all__ = ["Denoiser", "Prediction", "PredictionKind", "Quantized", "Sample", "Tokenizer", "Tokens", "UserError"]


@dataclass(frozen=True)
class Sample:
    """One piece of raw data with its units.

    `data` by modality: image `[C, H, W]` in [0, 1]; audio `[1, T]` in [-1, 1] with `sample_rate_hz`;
    volume `[C, D, H, W]` with `spacing_mm`; series `[C, T]` with `rate_hz`; text `str`; label `str`
    (the name of a class; speaker and style are labels too). `affine` takes (x, y, z, 1) places of a volume to
    millimetres where its file says so; `channel_names` are the names of a series' channels. `extras` is what a file
    holds beside the values, to be written back: `data.io.picture.Extras`, `data.io.stored.Stored` of volumes and
    arrays, `data.io.table.Table`. `notes` are lines for the user on what was added or left out in reading.
    """

    modality: str
    data: Any
    sample_rate_hz: int | None = None
    rate_hz: float | None = None
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    channel_names: tuple[str, ...] | None = None
    extras: Any = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tokens:
    """Discrete codes of one sample or of a batch.

    `ids` int64 `[*grid]` (one sample) or `[B, *grid]`; every id lies in `[0, codebook_size)`.
    `mask` has the shape of `ids`, True = real; None means that all are real. Where data come in any unit (volumes,
    series), `offset` and `scale` of each channel take what the codes say, about 0 and 1, back to it.
    """

    ids: Int[Tensor, "..."]
    codebook_size: int
    modality: str
    mask: Bool[Tensor, "..."] | None = None
    offset: Float[Tensor, " C"] | None = None
    scale: Float[Tensor, " C"] | None = None


@dataclass(frozen=True)
class Quantized:
    """What a quantizer returns; unpacks as `(quantized, indices, loss)`.

    `loss` is the weighted sum to add to the training loss, `losses` its unweighted parts, `perplexity`
    the exponential of the entropy of the indices, `usage` the share of codes that occur in this batch,
    `quantization_error` the mean squared distance to the unquantized vectors; `nonfinite` counts vectors
    that held NaN or infinity and were left out of every statistic. Where a vector has several codes, `perplexity` and
    `usage` are means over codebooks, and `per_depth` has both, and the error after each code, as vectors.
    """

    quantized: Tensor
    indices: Tensor
    loss: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    perplexity: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    usage: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    quantization_error: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    nonfinite: Tensor = field(default_factory=lambda: torch.tensor(0))
    per_depth: dict[str, Tensor] = field(default_factory=dict)

    def __iter__(self):
        return iter((self.quantized, self.indices, self.loss))


PredictionKind = Literal["eps", "x0", "v", "velocity"]


@dataclass(frozen=True)
class Prediction:
    """What a denoiser says of `x_t`: `value` has its shape, `kind` tells what it is, `calls` counts networks run."""

    value: Tensor
    kind: PredictionKind
    calls: int = 1


@runtime_checkable
class Denoiser(Protocol):
    """`denoiser(x_t, t, given)`: what it makes of `x_t` `[B, C, *size]` at times `t` `[B]`, 0 = data, 1 = noise.

    `given` is whatever the denoiser is conditioned on; None is the unconditional prediction.
    """

    def __call__(self, x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction: ...


@runtime_checkable
class Tokenizer(Protocol):
    """Sample <-> Tokens. `fingerprint` changes whenever the meaning of an id changes."""

    modality: str
    codebook_size: int

    def encode(self, sample: Sample) -> Tokens: ...

    def decode(self, tokens: Tokens) -> Sample: ...

    def fingerprint(self) -> str: ...
