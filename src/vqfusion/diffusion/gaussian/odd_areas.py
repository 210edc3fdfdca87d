"""Areas of a signal that say nothing of its noise, or less than others: constant ones, and those that were clipped."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

CONSTANT = {1: 9, 2: 3, 3: 3}  # side of a window, by rank, whose elements noise never makes equal
DRAWN_VALUES, DRAWN_SHARE = 4, 0.005  # so many values that each fill this share in constant windows: not noise
SPIKE = 1e-3  # share of elements equal to the least (or the greatest) one from which on noise was clipped there
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def constant_areas(item: Float[Tensor, "C ..."]) -> Bool[Tensor, "C ..."]:
    """True for elements of windows (3 a side; 9 at rank 1) without any difference, channel by channel."""
    rank = item.ndim - 1
    side, pool, x = CONSTANT[rank], MAX_POOL[rank], item[:, None]
    if any(n < side for n in item.shape[1:]):
        return torch.zeros_like(item, dtype=torch.bool)
    same = (pool(x, side, 1) == -pool(-x, side, 1)).to(torch.float32)
    return pool(F.pad(same, [side - 1] * (2 * rank)), side, 1)[:, 0] > 0


def is_drawn(item: Float[Tensor, "C ..."], constant: Bool[Tensor, "C ..."]) -> bool:
    """Whether constant areas have many values, as in drawings, screenshots and smoothed signals.

    Bars, masks, burnt areas and digital silence have one or two.
    """
    counts = item[constant].unique(return_counts=True)[1]
    return int((counts >= DRAWN_SHARE * item.numel()).sum()) >= DRAWN_VALUES


def clipped_ends(item: Float[Tensor, "C ..."]) -> tuple[float, float]:
    """The values below and above which the signal was clipped; infinite where it was not."""
    low, high, least = item.min(), item.max(), SPIKE * item.numel()
    return (
        float(low) if int((item == low).sum()) > least else -math.inf,
        float(high) if int((item == high).sum()) > least else math.inf,
    )


def kept_variance(mean: Float[Tensor, "..."], ends: tuple[float, float], sigma: float) -> Float[Tensor, "..."]:
    """Share of its variance that noise of `sigma` keeps after clipping, where the clipped signal has this mean.

    With u the distance of the unclipped mean from an end in units of sigma, the clipped mean lies E = u Phi(u) + phi(u)
    from it, with the variance (u^2 + 1) Phi(u) + u phi(u) - E^2.
    """
    u = torch.linspace(-3, 4, 701, dtype=torch.float64, device=mean.device)
    density, below = torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi), torch.special.ndtr(u)
    distances = u * below + density
    variances = ((u.square() + 1) * below + u * density - distances.square()).clamp(0, 1)
    kept = torch.ones_like(mean)
    for end, sign in zip(ends, (1, -1), strict=True):
        if math.isfinite(end):
            distance = (sign * (mean - end) / sigma).double().contiguous()
            place = torch.searchsorted(distances, distance).clamp(max=len(u) - 1)
            kept = kept * torch.where(distance > distances[-1], 1.0, variances[place]).to(kept)
    return kept
