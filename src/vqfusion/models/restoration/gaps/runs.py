"""Lengths and places of gaps."""

import numpy as np
from jaxtyping import Bool, Int

SIZES = np.array([1, 3, 8, 24, 72, 216, 648])  # lengths up to these are alike
START, INSIDE, END = 1, 0, 2


def gap_groups(missing: Bool[np.ndarray, "T C"]) -> Int[np.ndarray, "T C"]:
    """Group of each missing value by the length of its gap and whether that reaches an end; -1 where known.

    The group is 3 times the number of entries of `SIZES` below the length, plus `START`, `INSIDE` or `END`.
    """
    length, channels = missing.shape
    groups = np.full((length, channels), -1)
    for channel in range(channels):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], missing[:, channel].astype(int), [0]])))
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            side = START if begin == 0 else END if end == length else INSIDE
            groups[begin:end, channel] = 3 * np.searchsorted(SIZES, end - begin) + side
    return groups


def moved_gaps(
    gaps: Bool[np.ndarray, "T C"],
    seen: Bool[np.ndarray, "T C"],
    shift: int,
    most: float,
    generator: np.random.Generator,
) -> Bool[np.ndarray, "T C"]:
    """Known values that become gaps: the gaps of the series, moved by `shift` steps around its ends.

    Whole gaps are left out at random where a channel would lose more than the share `most` of its known values, or
    half of a gap that is longer than that alone.
    """
    hidden = np.roll(gaps, shift, axis=0)
    hidden[0], hidden[-1] = False, False  # a gap at an end is another question
    for channel in range(seen.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden[:, channel].astype(int), [0]])))
        room = first = max(1, int(most * seen[:, channel].sum()))
        for begin, end in generator.permutation(np.stack([edges[::2], edges[1::2]], axis=1)):
            lost = int(seen[begin:end, channel].sum())
            if lost > room and room == first:
                hidden[begin : begin + room, channel], hidden[begin + room : end, channel] = True, False
                lost = room
            if lost > room:
                hidden[begin:end, channel] = False
            else:
                room -= lost
    return hidden & seen
