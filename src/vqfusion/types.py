"""Data types that the whole package shares.

Axis names, used in annotations, names and comments: B batch, C channels, T time (samples or frames), H height, W width,
D depth of a volume or dimension of a vector (clear from the context), N positions or vectors, K codebook size, L length
of a token sequence. Masks are True where an element is real; they are never inverted.
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

    Attributes:
        modality: A name of `vqfusion.modalities.MODALITIES`, or of a slot of labels such as "speaker".
        data: Image `[C, H, W]` in [0, 1]; audio `[C, T]` of full scale 1; volume `[C, D, H, W]` and series `[C, T]` in
            any unit; text, and the class name of a label, as `str`.
        sample_rate_hz: Sample rate of audio.
        rate_hz: Sampling rate of a series.
        spacing_mm: Voxel size of a volume along each axis.
        affine: Matrix that maps homogeneous voxel coordinates (i, j, k, 1) to millimetres, where the file has one.
        channel_names: Names of the channels of a series.
        extras: What a file holds beside the values and gets back when it is written: `data.io.picture.Extras`,
            `data.io.sound.SoundExtras`, `data.io.stored.Stored` (volumes and arrays) or `data.io.table.Table`.
        notes: Messages for the user about what was added or left out while reading.
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

    Attributes:
        ids: Code indices, int64 `[*grid]` (one sample) or `[B, *grid]`, each in `[0, codebook_size)`.
        codebook_size: Number of codes.
        modality: Modality of the sample.
        mask: Shape of `ids`, True = real; None means that all are real.
        offset: Mean of each channel of data in any unit (volumes, series); decoding adds it back.
        scale: Standard deviation of each channel of such data; decoding multiplies by it.
    """

    ids: Int[Tensor, "..."]
    codebook_size: int
    modality: str
    mask: Bool[Tensor, "..."] | None = None
    offset: Float[Tensor, " C"] | None = None
    scale: Float[Tensor, " C"] | None = None


@dataclass(frozen=True)
class Quantized:
    """Output of a quantizer; unpacks as `(quantized, indices, loss)`.

    Attributes:
        quantized: Code vectors in the shape and layout of the input.
        indices: Code indices, int64 `[B, *grid]`, with a last axis where a vector has several codes.
        loss: Scalar to add to the training loss: the weighted sum of `losses`.
        losses: The loss terms without their weights.
        perplexity: Exponential of the entropy of the indices; the mean over codebooks where there are several.
        usage: Fraction of the codes that occur in this batch; the mean over codebooks where there are several.
        quantization_error: Mean squared distance between the vectors and their codes.
        nonfinite: Number of vectors with NaN or infinity; they are excluded from every statistic.
        per_depth: Where a vector has several codes: perplexity, usage and the error after each code, as vectors.
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
    """Output of a denoiser.

    Attributes:
        value: Predicted quantity, in the shape of `x_t`.
        kind: Which quantity it is: the noise "eps", the data "x0", "v" (Salimans, Ho, 2022) or the "velocity" of a
            flow.
        calls: Number of network evaluations that it took.
    """

    value: Tensor
    kind: PredictionKind
    calls: int = 1


@runtime_checkable
class Denoiser(Protocol):
    """A function that predicts the data or the noise in a noisy signal.

    `denoiser(x_t, t, given)` takes `x_t` `[B, C, *size]`, times `t` `[B]` in [0, 1] with 0 = data and 1 = noise, and
    the condition `given`; None asks for the unconditional prediction.
    """

    def __call__(self, x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], given: Any = None) -> Prediction:
        """Prediction for `x_t` at times `t`."""


@runtime_checkable
class Tokenizer(Protocol):
    """Maps samples to tokens and back.

    `fingerprint` changes whenever the meaning of an id changes.
    """

    modality: str
    codebook_size: int

    def encode(self, sample: Sample) -> Tokens:
        """Tokens of a sample."""

    def decode(self, tokens: Tokens) -> Sample:
        """Sample of tokens."""

    def fingerprint(self) -> str:
        """Identifier of the meaning of the ids."""
