"""Noisy signals to learn from, and which of them show the same thing again."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.config import PriorTrainingConfig
from vqfusion.data import Dataset, Record
from vqfusion.data.transforms import resample
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.restoration.value_range import DEVIATION, NEAR_ENDS
from vqfusion.types import Sample

NUMBERED = re.compile(r"(.+)[_-](\d+)")
APART = 4  # distance of elements in a covariance that noise has no part in
MOVED = 0.1  # largest share of the structure of a signal that may differ in a repeated acquisition
MOST_COUNTED = 2**20
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class NoisySignals:
    """What a prior learns from.

    Attributes:
        signals: Noisy signals `[C, *size]` in the units of the prior.
        names: Name of each.
        repeats: Groups of signals that may show the same thing, as indices, in order of time.
        shared_units: Whether all signals are in the same units.
    """

    signals: list[Tensor]
    names: list[str]
    repeats: list[list[int]]
    shared_units: bool


def load(training: PriorTrainingConfig, data: Dataset) -> NoisySignals:
    """All noisy signals of a data set, whatever its splits; constant ones are left out.

    Volumes are slices for a prior of pictures. Repeated acquisitions are the times of a TIFF whose axes name a time,
    the volumes of a NIfTI series, and files `name_1`, `name_2`.

    Raises:
        UserError: There are none, or none with noise.
    """
    prior = training.prior
    kind = MODALITIES[prior.modality]
    signals: list[Tensor] = []
    names: list[str] = []
    repeats: list[list[int]] = []
    numbered: dict[tuple[str, tuple[int, ...]], list[tuple[int, int]]] = defaultdict(list)
    for record in records_of(training, data):
        sample = record.load(slot_of(record, prior.modality))
        found = _signals(sample, training, record.key)
        match = NUMBERED.fullmatch(record.key)
        if match and len(found) == 1:
            numbered[match[1], tuple(found[0].shape)].append((int(match[2]), len(signals)))
        repeats += [[len(signals) + i for i in group] for group in times_of(sample, prior.rank)]
        signals += found
        names += [record.key if len(found) == 1 else f"{record.key}[{i}]" for i in range(len(found))]
    repeats += [[place for _, place in sorted(group)] for group in numbered.values() if len(group) > 1]
    live = [i for i, signal in enumerate(signals) if float(signal.std()) > 0]
    if not live:
        raise UserError(f"data set {data.name!r} holds constant {kind.plural} only: there is no noise to learn from")
    place = {old: new for new, old in enumerate(live)}
    kept = [[place[i] for i in group if i in place] for group in repeats]
    return NoisySignals(
        [signals[i] for i in live], [names[i] for i in live], [g for g in kept if len(g) > 1], not kind.own_units
    )


def records_of(training: PriorTrainingConfig, data: Dataset) -> list[Record]:
    """Records with a signal of the modality, or volumes where slices of them are pictures."""
    modality = training.prior.modality
    found = [record for record in data.select() if slot_of(record, modality) in record.slots]
    if not found:
        raise UserError(f"data set {data.name!r} holds no {modality}; it has {', '.join(data.slots())}")
    return found


def slot_of(record: Record, modality: str) -> str:
    """Slot of a record that a prior of this modality learns from."""
    if modality not in record.slots and MODALITIES[modality].pictured:
        return next((slot for slot in record.slots if slot in MODALITIES and MODALITIES[slot].rank == 3), modality)
    return modality


def times_of(sample: Sample, rank: int) -> list[list[int]]:
    """Groups of the frames of a sample that differ in their time only; none where its file names no time.

    Frames are counted as `_signals` makes them.
    """
    stored, shape = sample.extras, sample.data.shape
    if sample.data.ndim != 4 or shape[0] < 2:
        return []
    axes, sizes = getattr(stored, "axes", ""), getattr(stored, "shape", ())
    if axes:
        frames = [(axis, n) for axis, n in zip(axes, sizes, strict=True) if axis in "TC"]
        if "T" not in [axis for axis, _ in frames]:
            return []
        grid = torch.arange(shape[0]).reshape([n for _, n in frames])
        grid = grid.movedim([axis for axis, _ in frames].index("T"), -1)
        times = grid.reshape(-1, grid.shape[-1])
    elif getattr(stored, "trailing", ()):
        times = torch.arange(shape[0])[None]
    else:
        return []
    if rank == 3:
        return times.tolist()
    return [[t * shape[1] + slice_ for t in group] for group in times.tolist() for slice_ in range(shape[1])]


def stands_still(signals: Sequence[Float[Tensor, "C ..."]]) -> bool:
    """Whether repeated acquisitions show the same thing: their differences have noise, but little structure."""
    moved, whole = 0.0, 0.0
    for first, second in zip(signals, signals[1:], strict=False):
        moved += _structure(first - second)
        whole += _structure(first) + _structure(second)
    return moved <= MOVED * whole


def _structure(signal: Float[Tensor, "C ..."]) -> float:
    """Covariance of elements `APART` apart, averaged over axes: variance without that of white noise."""
    centred = signal - signal.mean()
    products = []
    for axis in range(1, signal.ndim):
        length = signal.shape[axis] - APART
        if length > 0:
            products.append((centred.narrow(axis, APART, length) * centred.narrow(axis, 0, length)).mean())
    return max(0.0, float(torch.stack(products).mean())) if products else 0.0


def _signals(sample: Sample, training: PriorTrainingConfig, key: str) -> list[Tensor]:
    """Signals `[C, *size]` of a sample in the units of the prior."""
    prior, kind = training.prior, MODALITIES[sample.modality]
    data = sample.data.float()
    if not bool(torch.isfinite(data).all()):
        raise UserError(f"{key}: holds NaN or infinity; replace such values, or leave the file out")
    if kind.pictured:
        if prior.channels == 1 and len(data) == 3:
            grey = bool((data == data[:1]).all())
            data = data[:1] if grey else (data * data.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
        return [data.expand(prior.channels, -1, -1)]
    if kind.heard:
        if data.shape[0] != prior.channels:
            raise UserError(f"{key}: has {data.shape[0]} channels and the prior takes {prior.channels}")
        return [resample(sample, prior.sample_rate_hz).data.float() if prior.sample_rate_hz else data]
    low, high = prior.value_range
    scaled = torch.stack([low + (high - low) * _unit(channel, kind.by_channel) for channel in data])
    if prior.rank == 2:
        return list(scaled.flatten(0, 1)[:, None])
    return list(scaled[:, None])


def _unit(channel: Tensor, by_deviation: bool) -> Tensor:
    """Values scaled as `FittedSample` scales them: 0.1 and 99.9 % quantiles to 0 and 1, or the deviation to 0.1 / 2."""
    if by_deviation:
        spread = float(channel.std(correction=0)) or 1.0
        return 0.5 + 0.5 * DEVIATION * (channel - channel.mean()) / spread
    some = channel.flatten()[:: -(-channel.numel() // MOST_COUNTED)]
    low, high = (float(torch.quantile(some, share)) for share in (NEAR_ENDS, 1 - NEAR_ENDS))
    return (channel - low) / ((high - low) or 1.0)
