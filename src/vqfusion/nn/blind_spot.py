"""Blind spots: elements that a network must estimate without seeing them, and signals split into coarser ones."""

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

WINDOW = {1: 7, 2: 5, 3: 3}  # side of the window whose median replaces a hidden element, by rank


def spots(size: Sequence[int], cell: Sequence[int], corner: Sequence[int]) -> Bool[Tensor, "..."]:
    """Grid `[*size]` that is True at one element of every cell: those at `corner` of the cells."""
    chosen = torch.zeros(tuple(size), dtype=torch.bool)
    chosen[tuple(slice(start, None, side) for start, side in zip(corner, cell, strict=True))] = True
    return chosen


def corners(cell: Sequence[int]) -> list[tuple[int, ...]]:
    """All corners of `spots`; together their grids hold every element once."""
    return list(product(*(range(side) for side in cell)))


def widened(chosen: Bool[Tensor, "..."], reach: Sequence[int]) -> Bool[Tensor, "..."]:
    """Elements up to `reach` away from a chosen one along each axis, the chosen ones included.

    The blind spot of noise that is correlated along an axis (Broaddus et al., 2020).
    """
    for axis, distance in enumerate(reach):
        grown = chosen.clone()
        length = chosen.shape[axis]
        for step in range(1, min(distance, length - 1) + 1):
            grown.narrow(axis, step, length - step).logical_or_(chosen.narrow(axis, 0, length - step))
            grown.narrow(axis, 0, length - step).logical_or_(chosen.narrow(axis, step, length - step))
        chosen = grown
    return chosen


def blinded(x: Float[Tensor, "B C ..."], hidden: Bool[Tensor, "..."]) -> Float[Tensor, "B C ..."]:
    """Replace hidden elements by the median of the visible ones around them (Höck et al., 2022, "N2V2").

    The window grows until it holds a visible element. A hidden element has no influence on the result.
    """
    rank = x.ndim - 2
    side = WINDOW[rank]
    known = x.detach().masked_fill(hidden, torch.nan)
    while True:
        half = side // 2
        mode = "reflect" if all(half < n for n in x.shape[2:]) else "replicate"
        windows = F.pad(known, [half] * (2 * rank), mode=mode)
        for axis in range(2, x.ndim):
            windows = windows.unfold(axis, side, 1)
        found = windows[:, :, hidden].flatten(3).nanmedian(dim=-1).values
        if not bool(found.isnan().any()) or half >= max(x.shape[2:]):
            break
        side = 2 * side + 1
    filled = x.clone()
    filled[:, :, hidden] = found
    return filled


def trimmed(x: Shaped[Tensor, "B C ..."], stride: Sequence[int]) -> Shaped[Tensor, "B C ..."]:
    """Signals without the last elements of each axis that make it no multiple of its stride."""
    for axis, step in enumerate(stride, start=2):
        x = x.narrow(axis, 0, x.shape[axis] // step * step)
    return x


def separated(x: Shaped[Tensor, "B C ..."], stride: Sequence[int]) -> Shaped[Tensor, "N C ..."]:
    """Signals of every `stride`-th element, one for each offset, as items of the batch; inverse of `interleaved`.

    Every axis must be a multiple of its stride.
    """
    parts = []
    for offset in product(*(range(step) for step in stride)):
        places = [slice(None)] * 2 + [slice(o, None, step) for o, step in zip(offset, stride, strict=True)]
        parts.append(x[tuple(places)])
    return torch.cat(parts)


def interleaved(parts: Float[Tensor, "N C ..."], stride: Sequence[int]) -> Float[Tensor, "B C ..."]:
    """Signals from those of `separated`."""
    offsets = list(product(*(range(step) for step in stride)))
    pieces = parts.chunk(len(offsets))
    first = pieces[0]
    whole = first.new_empty(*first.shape[:2], *(n * step for n, step in zip(first.shape[2:], stride, strict=True)))
    for offset, piece in zip(offsets, pieces, strict=True):
        places = [slice(None)] * 2 + [slice(o, None, step) for o, step in zip(offset, stride, strict=True)]
        whole[tuple(places)] = piece
    return whole
