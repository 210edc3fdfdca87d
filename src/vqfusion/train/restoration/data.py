"""What a prior learns from."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import PriorTrainingConfig
from vqfusion.data import Dataset, Record, open_dataset
from vqfusion.data.transforms import resample
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.train.restoration.noisy.choose import choose
from vqfusion.train.restoration.noisy.signals import load


def open_data(training: PriorTrainingConfig, opened: Callable[[str], Dataset] = open_dataset) -> Dataset:
    """The data set of a training, each signal of which is decoded once."""
    return opened(training.data)


def check(training: PriorTrainingConfig, data: Dataset) -> None:
    """UserError where the data have nothing to train on, or their first signal is not what the prior takes."""
    if not training.prior.clean:
        choose(training, load(training, data))
        return
    signals_of(_records(training, data, "train")[0], training)


def load_signals(training: PriorTrainingConfig, data: Dataset, split: str = "train") -> list[Tensor]:
    """Signals of the modality of a prior in a split: pictures as uint8 at their sizes, others as floats.

    Pictures are converted to the channels of the prior and sound to its sample rate; other signals must have its
    channels, and volumes and series in other units are scaled to its range.
    """
    return [signal for record in _records(training, data, split) for signal in signals_of(record, training)]


def signals_of(record: Record, training: PriorTrainingConfig) -> list[Tensor]:
    """What a prior learns from in one record: a picture at every size, any other signal once."""
    prior, kind = training.prior, MODALITIES[training.prior.modality]
    sample = record.load(prior.modality)
    if kind.pictured:
        return reduced(as_bytes(sample.data, prior.channels), training.sizes)
    if sample.data.shape[0] != prior.channels:
        raise UserError(f"{record.key}: has {sample.data.shape[0]} channels and the prior takes {prior.channels}")
    if kind.heard and prior.sample_rate_hz:
        return [resample(sample, prior.sample_rate_hz).data]
    return [in_range(sample.data, prior.value_range)]


def _records(training: PriorTrainingConfig, data: Dataset, split: str) -> list[Record]:
    """The records of a split that a prior learns from; all where the split has none."""
    modality = training.prior.modality
    records = data.select(split=split, slots=(modality,)) or data.select(slots=(modality,))
    if not records:
        raise UserError(f"data set {data.name!r} holds no {modality}; it has {', '.join(data.slots())}")
    return records


def as_bytes(picture: Float[Tensor, "C H W"], channels: int) -> UInt8[Tensor, "D H W"]:
    """A picture in [0, 1] as uint8 with 1 or 3 channels."""
    if channels == 1 and picture.shape[0] == 3:
        picture = (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=0, keepdim=True)
    return (picture.expand(channels, -1, -1) * 255).round().to(torch.uint8)


def in_range(data: Float[Tensor, "C ..."], value_range: tuple[float, float]) -> Float[Tensor, "C ..."]:
    """Data unchanged where they lie in the range, else with their 0.1 and 99.9 % quantiles scaled to its ends."""
    low, high = value_range
    if low <= float(data.min()) and float(data.max()) <= high:
        return data
    sorted_values = data.flatten().sort().values
    count = len(sorted_values)
    first, last = (float(sorted_values[int(share * (count - 1))]) for share in (0.001, 0.999))
    return (low + (data - first) * (high - low) / max(last - first, 1e-12)).clamp(low, high)


def reduced(picture: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """A picture `[C, H, W]` of 0 to 255 with each of these longer sides that it exceeds by a quarter.

    The picture itself is included where it is no larger than the largest of them.
    """
    longest = max(picture.shape[1:])
    found = [picture] if longest <= max(sizes, default=longest) else []
    for size in (size for size in sizes if size <= 0.8 * longest):
        shape = [max(1, round(n * size / longest)) for n in picture.shape[1:]]
        small = F.interpolate(picture[None].float(), shape, mode="bicubic", antialias=True)[0]
        found.append(small.round().clamp(0, 255).to(torch.uint8))
    return found
