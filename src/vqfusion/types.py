"""Data types that the whole package shares.

Axis names, used in annotations, names and comments: B batch, C channels, T time (samples or frames), H height, W width,
D depth of a volume or dimension of a vector (clear from the context), N positions or vectors, K codebook size, L length
of a token sequence. Masks are True where an element is real; they are never inverted.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, Modality, imported

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

    def __post_init__(self) -> None:
        """UserError with one line where the data cannot be of this modality."""
        kind = MODALITIES.get(self.modality)
        if kind is not None and (wrong := misfit(self, kind)):
            raise UserError(f"{kind.noun}: {wrong}")

    def __repr__(self) -> str:
        """Modality, shape or text, and units; not the values."""
        data = f"{list(self.data.shape)} {self.data.dtype}" if isinstance(self.data, Tensor) else repr(self.data)
        units = {name: getattr(self, name) for name in ("sample_rate_hz", "rate_hz", "spacing_mm", "channel_names")}
        said = [f"{name}={value}" for name, value in units.items() if value is not None]
        return f"Sample({', '.join([repr(self.modality), data, *said])})"

    @property
    def is_plane(self) -> bool:
        """Whether this is a volume with a depth of 1."""
        kind = MODALITIES.get(self.modality)
        return kind is not None and kind.rank == 3 and self.data.shape[1] == 1

    def save(self, path: str | Path, force: bool = False) -> None:
        """Write it to a file in the format of the suffix; UserError if the file exists, without `force`."""
        imported("vqfusion.data.io:write")(self, path, force)

    def _repr_html_(self) -> str:
        """A picture, a player, the middle slices of a volume or the curves of a series, for notebooks."""
        return imported("vqfusion.data.display:html_of")(self)

    def _repr_png_(self) -> bytes | None:
        """The PNG of a picture; None for all others."""
        return imported("vqfusion.data.display:png_of")(self)


def misfit(sample: Sample, kind: Modality) -> str:
    """Why the data of a sample are not of its modality, and what to do; "" where they are."""
    data = sample.data
    if not kind.rank:
        is_name = isinstance(data, int) or data is None
        return (
            "" if isinstance(data, str) or (kind.listed and is_name) else f"data are a str, not {type(data).__name__}"
        )
    axes = AXES[kind.rank]
    if not isinstance(data, Tensor):
        use = f"vqfusion.as_sample(data, {kind.name!r}) converts pictures, arrays and paths"
        return f"data are a tensor {axes}, not {type(data).__module__}.{type(data).__name__}: {use}"
    if data.ndim != kind.rank + 1:
        hint = ", a batch is a list of samples" if data.ndim == kind.rank + 2 else ""
        return f"data are {axes}, not {list(data.shape)}{hint}"
    if data.is_complex() or data.dtype == torch.bool:
        return f"data are real numbers, not {data.dtype}"
    if kind.own_units:
        return ""
    if not data.is_floating_point():
        return f"data are floats {RANGES[kind.pictured]}, not {data.dtype}: vqfusion.as_sample converts them"
    if kind.pictured and data.shape[0] > 4 and data.shape[2] in (1, 3, 4):
        return f"colours come first, {axes}, and {list(data.shape)} has them last: data.permute(2, 0, 1)"
    if not data.numel():
        return ""
    low, high = (float(end) for end in data.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        return "data hold NaN or infinity: replace them, or hide them with a mask"
    if kind.pictured and max(-low, high) > MOST:
        return f"values lie in [0, 1], and these reach {max(low, high, key=abs):g}: divide by 255 (8 bits) or 65535"
    return ""


AXES = {1: "[C, T]", 2: "[C, H, W]", 3: "[C, D, H, W]"}
RANGES = {True: "in [0, 1]", False: "in [-1, 1]"}
MOST = 16.0  # far beyond a picture in [0, 1] with noise, and below one in [0, 255] but for a nearly black one


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
