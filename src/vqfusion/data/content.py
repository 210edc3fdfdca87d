"""Numbers that tell samples apart by what they hold, whatever file, precision, gain or place in a list they have."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence

import torch
from torch.nn import functional as F

from vqfusion.types import Sample

CELLS = 8  # along each axis of a signal
LEVELS = 4096  # between the least and the largest value of a signal


def content_number(sample: Sample) -> int:
    """A whole number below 2**48 that follows from the content of a sample.

    Of a signal it sees the size and coarse means, between its least and largest value, over all channels; of a text
    its characters in normal form C. A grey picture, the same in three channels and the same in 16 bits have one number.
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
    """A number for each of these samples, to be drawn with: that of its content, another one where that came before.

    So an item draws the same alone, in a batch and in a folder, and no two items of a call draw the same. `seen`
    counts what came before and is updated.
    """
    numbers = []
    for number in map(content_number, samples):
        numbers.append(number + 2**48 * seen[number])
        seen[number] += 1
    return tuple(numbers)
