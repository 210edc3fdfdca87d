"""Batches of crops for volume, series and text tokenizers, determined by seed and step."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from vqfusion.data import Dataset
from vqfusion.errors import UserError
from vqfusion.tokenizers.units import moments, standardised
from vqfusion.train.loop.steps import Batches, batches_of, share, step_generator


def load_standardised(dataset: Dataset, slot: str, split: str = "train") -> list[Tensor]:
    """All volumes or series of a split, with mean 0 and standard deviation 1 in each channel."""
    records = dataset.select(split=split, slots=(slot,))
    if not records:
        raise UserError(f"data set {dataset.name!r} has no {slot} in its {split} split")
    return [standardised(data, *moments(data)) for data in (record.load(slot).data for record in records)]


def volume_batches(volumes: Sequence[Tensor], batch: int, side: int, seed: int) -> Batches:
    """Batches of random crops `[batch, 1, side, ...]` of volumes `[1, D, H, W]`, randomly mirrored.

    Smaller volumes are padded by their edge. Signals of another rank give squares and so on.

    Args:
        volumes: The volumes.
        batch: Batch size.
        side: Side of a crop.
        seed: Random seed.

    Returns:
        Function from the step to a batch.
    """

    def crop(generator: torch.Generator) -> Tensor:
        volume = volumes[int(torch.randint(len(volumes), (1,), generator=generator))]
        rank = volume.ndim - 1
        cube = random_box(volume, (side,) * rank, generator)
        mirrored = torch.rand(rank, generator=generator) < 0.5
        return cube.flip([axis + 1 for axis in range(rank) if mirrored[axis]])

    return batches_of(crop, batch, seed)


def series_batches(series: Sequence[Tensor], batch: int, length: int, seed: int) -> Batches:
    """Batches of crops `[batch, 1, length]` of single channels of series `[C, T]`, randomly negated and scaled.

    Args:
        series: The series.
        batch: Batch size.
        length: Length of a crop.
        seed: Random seed.

    Returns:
        Function from the step to a batch.
    """

    def crop(generator: torch.Generator) -> Tensor:
        one = series[int(torch.randint(len(series), (1,), generator=generator))]
        channel = int(torch.randint(len(one), (1,), generator=generator))
        stretch = random_box(one[channel : channel + 1], (length,), generator)
        gain, sign = torch.rand(2, generator=generator).tolist()
        return stretch * 2 ** (gain - 0.5) * (1 if sign < 0.5 else -1)

    return batches_of(crop, batch, seed)


def byte_batches(texts: Sequence[str], batch: int, length: int, seed: int) -> Batches:
    """Batches of bytes `[batch, 8 to length]` from texts that are joined line by line.

    Each step has its own length, because most texts are short. Up to three bytes at the end of a row are 0, as where a
    text ends within a code.

    Args:
        texts: The texts.
        batch: Batch size.
        length: Largest length in bytes.
        seed: Random seed.

    Returns:
        Function from the step to a batch.
    """
    encoded = [torch.tensor(list(f"{text}\n".encode()), dtype=torch.int64) for text in texts]

    def batches(step: int, rank: int, processes: int) -> Tensor:
        chosen = []
        size = 8 + int(torch.randint(max(1, length - 7), (1,), generator=step_generator(seed, step, batch)))
        for item in share(range(batch), rank, processes):
            generator = step_generator(seed, step, item)
            row = torch.empty(0, dtype=torch.int64)
            while len(row) < 2 * size:
                row = torch.cat([row, encoded[int(torch.randint(len(encoded), (1,), generator=generator))]])
            start, ended = (int(torch.randint(n, (1,), generator=generator)) for n in (len(row) - size + 1, 4))
            part = row[start : start + size].clone()
            part[size - ended :] = 0
            chosen.append(part)
        return torch.stack(chosen)

    return batches


def random_box(
    data: Float[Tensor, "C ..."] | UInt8[Tensor, "C ..."], size: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "C ..."]:
    """Random crop of the given size.

    Smaller signals are padded by their edge; bytes are converted to numbers in [0, 1].

    Args:
        data: Signal.
        size: Size of the crop along each axis.
        generator: Random generator.

    Returns:
        The crop.
    """
    for axis, length in enumerate(size, 1):
        start = int(torch.randint(max(1, data.shape[axis] - length + 1), (1,), generator=generator))
        data = data.narrow(axis, start, min(length, data.shape[axis]))
    data = data.float() / 255 if data.dtype == torch.uint8 else data
    missing = [length - n for length, n in zip(size, data.shape[1:], strict=True)]
    pads = [pad for n in reversed(missing) for pad in (0, n)]
    return F.pad(data[None], pads, mode="replicate")[0] if any(pads) else data
