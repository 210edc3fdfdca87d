"""Numbers that identify the content of samples, independently of file, precision, gain or position in a list."""

import hashlib
import unicodedata
from collections.abc import Sequence
from itertools import count

import torch
from torch.nn import functional as F

from vqfusion.types import Sample

CELLS = 8  # along each axis of a signal
LEVELS = 4096  # between the smallest and the largest value of a signal


def content_number(sample: Sample, repeat: int = 0) -> int:
    """Integer below 2**32 determined by the content of a sample, another one for each `repeat` of it.

    Of a signal it uses the size and coarse means over all channels, relative to its smallest and largest value; of a
    text its characters in normal form C. A grey picture, the same in three channels and the same in 16 bits have one
    number. It has 32 bits because torch's generator on CPUs uses no more of a seed.
    """
    if isinstance(sample.data, torch.Tensor):
        data = torch.nan_to_num(sample.data.double()).mean(dim=0)
        low, high = float(data.min()), float(data.max())
        whole = (data - low) / ((high - low) or 1.0)
        cells = F.interpolate(whole[None, None], [min(CELLS, n) for n in data.shape], mode="area")
        described = repr((tuple(data.shape), (cells * LEVELS).round().long().flatten().tolist()))
    else:
        described = unicodedata.normalize("NFC", str(sample.data))
    described = f"{repeat} {described}"
    return int.from_bytes(hashlib.sha256(described.encode(errors="backslashreplace")).digest()[:4])


def item_numbers(samples: Sequence[Sample], seen: set[int]) -> tuple[int, ...]:
    """Number of each sample for seeding: that of its content, or another one where that occurred before.

    An item therefore gets the same random numbers alone, in a batch and in a folder, and no two items of a call the
    same. `seen` holds the numbers that were given out and is updated.
    """
    numbers = []
    for sample in samples:
        number = next(n for repeat in count() if (n := content_number(sample, repeat)) not in seen)
        seen.add(number)
        numbers.append(number)
    return tuple(numbers)
