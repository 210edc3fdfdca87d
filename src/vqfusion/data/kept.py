"""A data set of which nothing is decoded twice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from vqfusion.data.record import Dataset, Source
from vqfusion.data.transforms import fit_picture, resample
from vqfusion.limits import MEMORY
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

SHARE = 4  # at most this part of the memory, the fourth, is filled with samples


def kept(dataset: Dataset, image_size: int, sample_rate_hz: int | None = None) -> Dataset:
    """The data set for a training that asks for the same samples at every stage: each is decoded once.

    What is kept is what a training takes, not what the file holds. Once a quarter of the memory
    (`VQFUSION_MAX_MEMORY`) is full, further samples are decoded whenever they are asked for.

    Args:
        dataset: Any data set; its records stay as they are.
        image_size: Pictures are fitted to squares of this many pixels a side and kept as 8-bit colours.
        sample_rate_hz: Rate to which sounds are resampled; None keeps theirs.

    Returns:
        The same records with the same slots.
    """
    room = _Room(MEMORY.most // SHARE)

    def once(sources: Mapping[str, Source]) -> dict[str, Source]:
        return {slot: _Once(source, room, image_size, sample_rate_hz) for slot, source in sources.items()}

    return replace(dataset, records=[replace(one, sources=once(one.sources)) for one in dataset.records])


class Shape(NamedTuple):
    """Size of a signal along its axes, and its sample rate."""

    sizes: tuple[int, ...]
    sample_rate_hz: int | None


def shape_of(sample: Sample) -> Shape:
    """Shape of a sample as it is; () for texts and names."""
    return Shape(tuple(sample.data.shape[1:]) if isinstance(sample.data, Tensor) else (), sample.sample_rate_hz)


def original_shape(source: Source) -> Shape:
    """Shape of what a source reads, before it was made as small as a training takes it."""
    sample = source()
    return getattr(source, "was", None) or shape_of(sample)


@dataclass
class _Room:
    """Bytes that may still be filled."""

    free: int

    def take(self, count: int) -> bool:
        """Whether so many bytes are free; then they are taken."""
        if count > self.free:
            return False
        self.free -= count
        return True


class _Once:
    """A source whose sample is decoded at the first call and kept from then on, a picture as bytes."""

    __slots__ = ("image_size", "kept", "room", "sample_rate_hz", "source", "was")

    def __init__(self, source: Source, room: _Room, image_size: int, sample_rate_hz: int | None):
        self.source, self.room, self.image_size, self.sample_rate_hz = source, room, image_size, sample_rate_hz
        self.kept: Sample | _Bytes | None = None
        self.was: Shape | None = None

    def __call__(self) -> Sample:
        if self.kept is None:
            sample = self.source()
            self.was, small = shape_of(sample), self._small(sample)
            if not self.room.take(_size(small.data)):
                return small.sample if isinstance(small, _Bytes) else small
            self.kept = small
        return self.kept.sample if isinstance(self.kept, _Bytes) else self.kept

    def _small(self, sample: Sample) -> "Sample | _Bytes":
        row = MODALITIES.get(sample.modality)
        if row is not None and row.pictured:
            picture = fit_picture(sample.data, self.image_size)
            return _Bytes(sample.modality, (picture * 255).round().to(torch.uint8))
        if row is not None and row.heard and self.sample_rate_hz:
            sample = resample(sample, self.sample_rate_hz)
        return replace(sample, extras=None)


class _Bytes(NamedTuple):
    """A picture of 8-bit colours."""

    modality: str
    data: Tensor

    @property
    def sample(self) -> Sample:
        """The picture with numbers in [0, 1]."""
        return Sample(self.modality, self.data.float() / 255)


def _size(data: Tensor | str) -> int:
    """Bytes of the data of a sample."""
    return data.untyped_storage().nbytes() if isinstance(data, Tensor) else len(data)
