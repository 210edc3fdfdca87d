"""The nouns that every room shares.

Axis legend, used in names, comments and jaxtyping annotations:
B batch, C channels, T time (samples or frames), H height, W width, D depth of a volume or
width of a vector (the context tells), N positions, K codebook size, L tokens of a sequence.
Masks are True where something is real, never inverted.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vqfusion.errors import UserError

__all__ = ["Quantized", "Sample", "Tokenizer", "Tokens", "UserError"]


@dataclass(frozen=True)
class Sample:
    """One piece of raw data with its units.

    `data` by modality: image `[C, H, W]` in [0, 1]; audio `[1, T]` in [-1, 1] with `sample_rate_hz`;
    volume `[C, D, H, W]` with `spacing_mm`; series `[C, T]` with `rate_hz`; text `str`; label `str`
    (the name of a class; speaker and style are labels too).
    """

    modality: str
    data: Any
    sample_rate_hz: int | None = None
    rate_hz: float | None = None
    spacing_mm: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Tokens:
    """Discrete codes of one sample or of a batch.

    `ids` int64 `[*grid]` (one sample) or `[B, *grid]`; every id lies in `[0, codebook_size)`.
    `mask` has the shape of `ids`, True = real; None means that all are real.
    """

    ids: Int[Tensor, "..."]
    codebook_size: int
    modality: str
    mask: Bool[Tensor, "..."] | None = None


@dataclass(frozen=True)
class Quantized:
    """What a quantizer returns; unpacks as `(quantized, indices, loss)`.

    `loss` is the weighted sum to add to the training loss, `losses` its unweighted parts, `perplexity`
    the exponential of the entropy of the indices, `usage` the share of codes that occur in this batch,
    `quantization_error` the mean squared distance to the unquantized vectors; `nonfinite` counts vectors
    that held NaN or infinity and were left out of every statistic.
    """

    quantized: Tensor
    indices: Tensor
    loss: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
    perplexity: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    usage: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    quantization_error: Tensor = field(default_factory=lambda: torch.tensor(float("nan")))
    nonfinite: Tensor = field(default_factory=lambda: torch.tensor(0))

    def __iter__(self):
        return iter((self.quantized, self.indices, self.loss))


@runtime_checkable
class Tokenizer(Protocol):
    """Sample <-> Tokens. `fingerprint` changes whenever the meaning of an id changes."""

    modality: str
    codebook_size: int

    def encode(self, sample: Sample) -> Tokens: ...

    def decode(self, tokens: Tokens) -> Sample: ...

    def fingerprint(self) -> str: ...
