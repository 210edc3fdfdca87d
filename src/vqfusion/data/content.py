"""Numbers that identify the content of samples, independently of file, precision, gain or position in a list."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from vqfusion.types import Sample

CELLS = 8  # along each axis of a signal
LEVELS = 4096  # between the smallest and the largest value of a signal


def content_number(sample: Sample) -> int:
    """Integer below 2**48 determined by the content of a sample.

    Of a signal it uses the size and coarse means over all channels, relative to its smallest and largest value; of a
    text its characters in normal form C. A grey picture, the same in three channels and the same in 16 bits have one
    number.
    """
    if isinstance(sample.data, torch.Tensor):
        data = torch.nan_to_num(sample.data.double()).mean(dim=0)
        low, high = float(data.min()), float(data.max())
        whole = (data - low) / ((high - low) or 1.0)
        cells = F.interpolate(whole[None, None], [min(CELLS, n) for n in data.shape], mode="area")
        described = repr((tuple(data.shape), (cells * LEVELS).round().long().flatten().tolist()))
    else:
        described = unicodedata.normalize("NFC", str(sample.data))
    return int.from_bytes(hashlib.sha256(described.encode(errors="backslashreplace")).digest()[:6])


def item_numbers(samples: Sequence[Sample], seen: Counter[int]) -> tuple[int, ...]:
    """Number of each sample for seeding: that of its content, or a new one where that occurred before.

    An item therefore gets the same random numbers alone, in a batch and in a folder, and no two items of a call the
    same. `seen` counts earlier content and is updated.
    """
    numbers = []
    for number in map(content_number, samples):
        numbers.append(number + 2**48 * seen[number])
        seen[number] += 1
    return tuple(numbers)
