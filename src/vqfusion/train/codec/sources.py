"""Batches for tokenizers, determined by seed and step."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vqfusion.data import Dataset
from vqfusion.data.loudness import as_heard
from vqfusion.data.transforms import fit_picture
from vqfusion.errors import UserError
from vqfusion.train.codec.augment import vary_picture, vary_sound
from vqfusion.train.loop.steps import Batches, batches_of

USUAL = 0.9


def picture_batches(pictures: Tensor, batch: int, seed: int, thumbnails: bool) -> Batches:
    """Batches of augmented pictures `[batch, C, H, W]` from `[N, C, H, W]`.

    Args:
        pictures: Pictures as uint8.
        batch: Batch size.
        seed: Random seed.
        thumbnails: Replace one item in ten by a mosaic of 4 x 4 pictures at a quarter of the size, so that the
            tokenizer also learns small views such as `image@16`.

    Returns:
        Function from the step to a batch.
    """

    def picture(generator: torch.Generator) -> Tensor:
        mosaic = thumbnails and float(torch.rand(1, generator=generator)) < 0.1
        indices = torch.randint(len(pictures), (16 if mosaic else 1,), generator=generator)
        if not mosaic:
            return vary_picture(pictures[int(indices)].float() / 255, generator)
        small = F.interpolate(pictures[indices].float() / 255, scale_factor=0.25, mode="area")
        rows = [torch.cat(list(small[4 * r : 4 * r + 4]), dim=2) for r in range(4)]
        return torch.cat(rows, dim=1)

    return batches_of(picture, batch, seed)


def sound_batches(sounds: Sequence[Tensor], batch: int, length: int, seed: int) -> Batches:
    """Batches of augmented crops `[batch, length]` of sounds `[1, T]`.

    Args:
        sounds: The sounds.
        batch: Batch size.
        length: Length of a crop in samples.
        seed: Random seed.

    Returns:
        Function from the step to a batch.
    """

    def crop(generator: torch.Generator) -> Tensor:
        sound = sounds[int(torch.randint(len(sounds), (1,), generator=generator))]
        return vary_sound(sound, length, generator)[0]

    return batches_of(crop, batch, seed)


def usual_length(sounds: Sequence[Tensor], step: int) -> int:
    """Length that nine tenths of the sounds `[1, T]` do not exceed, up to a multiple of `step`: little is silence."""
    lengths = sorted(sound.shape[1] for sound in sounds)
    return step * max(1, math.ceil(lengths[round(USUAL * (len(lengths) - 1))] / step))


def load_pictures(dataset: Dataset, size: int, split: str = "train") -> Tensor:
    """All pictures of a split, resized, as uint8 `[N, 3, size, size]`."""
    records = dataset.select(split=split, slots=("image",))
    if not records:
        raise UserError(f"data set {dataset.name!r} has no pictures in its {split} split")
    pictures = [fit_picture(record.load("image").data, size) for record in records]
    return torch.stack([(p * 255).round().to(torch.uint8) for p in pictures])


def load_sounds(dataset: Dataset, sample_rate_hz: int, split: str = "train") -> list[Tensor]:
    """All sounds of a split as they are heard at a sample rate, `[1, T]`."""
    records = dataset.select(split=split, slots=("audio",))
    if not records:
        raise UserError(f"data set {dataset.name!r} has no sound in its {split} split")
    return [as_heard(record.load("audio"), sample_rate_hz) for record in records]
