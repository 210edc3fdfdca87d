"""Batches for the training of tokenizers: a function of seed and step alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vqfusion.data import Dataset
from vqfusion.data.transforms import fit_picture, resample
from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.train.augment import vary_picture, vary_sound

Batches = Callable[[int, int, int], Tensor]


def step_generator(seed: int, step: int, item: int = 0) -> torch.Generator:
    """A generator for one item of one step; the same whatever was drawn before or on which process."""
    return torch.Generator().manual_seed(torch_seed((seed * 1_000_003 + step) * 4099 + item))


def share(items: Sequence, rank: int, processes: int) -> Sequence:
    """The contiguous part of a global batch that belongs to one process."""
    size = len(items) // processes
    return items[rank * size : (rank + 1) * size]


def picture_batches(pictures: Tensor, batch: int, seed: int, thumbnails: bool) -> Batches:
    """Augmented pictures `[batch, C, H, W]` from `[N, C, H, W]`.

    With `thumbnails`, one item in ten is a mosaic of 4 x 4 pictures at a quarter of the size, so that
    the tokenizer also knows small views such as `image@16`.
    """

    def batches(step: int, rank: int, processes: int) -> Tensor:
        chosen = []
        for item in share(range(batch), rank, processes):
            generator = step_generator(seed, step, item)
            mosaic = thumbnails and float(torch.rand(1, generator=generator)) < 0.1
            indices = torch.randint(len(pictures), (16 if mosaic else 1,), generator=generator)
            if mosaic:
                small = F.interpolate(pictures[indices].float() / 255, scale_factor=0.25, mode="area")
                rows = [torch.cat(list(small[4 * r : 4 * r + 4]), dim=2) for r in range(4)]
                chosen.append(torch.cat(rows, dim=1))
            else:
                chosen.append(vary_picture(pictures[int(indices)].float() / 255, generator))
        return torch.stack(chosen)

    return batches


def sound_batches(sounds: Sequence[Tensor], batch: int, length: int, seed: int) -> Batches:
    """Augmented stretches `[batch, length]` from sounds `[1, T]`."""

    def batches(step: int, rank: int, processes: int) -> Tensor:
        chosen = []
        for item in share(range(batch), rank, processes):
            generator = step_generator(seed, step, item)
            sound = sounds[int(torch.randint(len(sounds), (1,), generator=generator))]
            chosen.append(vary_sound(sound, length, generator))
        return torch.cat(chosen)

    return batches


def load_pictures(dataset: Dataset, size: int, split: str = "train") -> Tensor:
    """Every picture of a split, resized, as uint8 `[N, 3, size, size]`."""
    records = dataset.select(split=split, slots=("image",))
    if not records:
        raise UserError(f"data set {dataset.name!r} has no pictures in its {split} split")
    pictures = [fit_picture(record.load("image").data, size) for record in records]
    return torch.stack([(p * 255).round().to(torch.uint8) for p in pictures])


def load_sounds(dataset: Dataset, sample_rate_hz: int, split: str = "train") -> list[Tensor]:
    """Every sound of a split at one rate, as `[1, T]`."""
    records = dataset.select(split=split, slots=("audio",))
    if not records:
        raise UserError(f"data set {dataset.name!r} has no sound in its {split} split")
    return [resample(record.load("audio"), sample_rate_hz).data for record in records]
