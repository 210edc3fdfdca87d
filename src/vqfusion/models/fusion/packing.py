"""Training batches packed into rows, so that no product is spent on padding.

A segment is one example: the start token, its given tokens, and its targets one after another. Given tokens attend to
given ones, each target to the given ones and to itself; several segments share a row and do not see each other.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SHORTEST_ROW, STEP = 64, 32  # tokens


@dataclass(frozen=True)
class Part:
    """Embedded tokens of one slot for some segments.

    Attributes:
        x: Embedded tokens.
        positions: Their positions.
        mask: True for real tokens; None where all are.
        segments: Segment of each item.
        roles: 0 for given parts; another number for each target of a segment.
    """

    x: Float[Tensor, "B L dim"]
    positions: Float[Tensor, "L 3"]
    mask: Bool[Tensor, "B L"] | None
    segments: Int[Tensor, " B"]
    roles: Int[Tensor, " B"]


@dataclass(frozen=True)
class Rows:
    """Packed rows.

    Attributes:
        x: Embedded tokens; zeros where a row is not full.
        positions: Their positions.
        allowed: Which keys each query attends to.
        places: For each part, index of each of its tokens in the flattened rows `[B, L]`; -1 for padding.
    """

    x: Float[Tensor, "R W dim"]
    positions: Float[Tensor, "R W 3"]
    allowed: Bool[Tensor, "R W W"]
    places: list[Tensor]


def pack(parts: list[Part]) -> Rows:
    """Pack parts into rows: each segment whole, the longest first, into the first row with room."""
    device = parts[0].x.device
    real = [torch.ones(p.x.shape[:2], dtype=torch.bool, device=device) if p.mask is None else p.mask for p in parts]
    segment = torch.cat([p.segments[:, None].expand(m.shape)[m] for p, m in zip(parts, real, strict=True)])
    role = torch.cat([p.roles[:, None].expand(m.shape)[m] for p, m in zip(parts, real, strict=True)])
    lengths = torch.bincount(segment)
    width, row, start = _rows(lengths.tolist())
    order = torch.argsort(segment * (int(role.max()) + 1) + role, stable=True)
    first = lengths.cumsum(0) - lengths
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=device)
    offsets = torch.tensor([r * width + s for r, s in zip(row, start, strict=True)], device=device)
    place = offsets[segment] + rank - first[segment]
    count = (max(row) + 1) * width
    source = torch.full((count,), len(place), device=device).index_copy_(
        0, place, torch.arange(len(place), device=device)
    )
    x = torch.cat([p.x[m] for p, m in zip(parts, real, strict=True)])
    positions = torch.cat([p.positions.expand(*m.shape, 3)[m] for p, m in zip(parts, real, strict=True)])
    x = torch.cat([x, x.new_zeros(1, x.shape[1])])[source]
    positions = torch.cat([positions, positions.new_zeros(1, 3)])[source]
    owner = torch.cat([segment, segment.new_full((1,), -1)])[source].view(-1, width)
    kind = torch.cat([role, role.new_zeros(1)])[source].view(-1, width)
    seen = (kind[:, None] == 0) | (kind[:, None] == kind[:, :, None])
    allowed = (owner[:, None] == owner[:, :, None]) & seen
    places, at = [], 0
    for mask in real:
        each = torch.full(mask.shape, -1, device=device)
        each[mask] = place[at : at + int(mask.sum())]
        at += int(mask.sum())
        places.append(each)
    return Rows(x.view(-1, width, x.shape[1]), positions.view(-1, width, 3), allowed, places)


def _rows(lengths: list[int]) -> tuple[int, list[int], list[int]]:
    """Width of the rows, and row and first token of each segment."""
    width = max(SHORTEST_ROW, -(-max(lengths) // STEP) * STEP)
    used: list[int] = []
    row, start = [0] * len(lengths), [0] * len(lengths)
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = next((r for r, taken in enumerate(used) if taken + lengths[i] <= width), len(used))
        if at == len(used):
            used.append(0)
        row[i], start[i] = at, used[at]
        used[at] += lengths[i]
    return width, row, start
