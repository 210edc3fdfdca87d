"""Areas of a signal with little or no information about its noise: constant and clipped ones."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

CONSTANT = {1: 9, 2: 3, 3: 3}  # side of a window, by rank, in which noise never makes all elements equal
DRAWN_VALUES, DRAWN_SHARE = 4, 0.005  # number of constant values, each in this fraction of the elements, of drawings
SPIKE, FEWEST = (
    1e-3,
    4,
)  # fraction and number of elements equal to the minimum (or maximum) above which values count as clipped there
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def constant_areas(item: Float[Tensor, "C ..."]) -> Bool[Tensor, "C ..."]:
    """True for elements of windows (side 3; 9 for rank 1) whose elements are all equal, for each channel."""
    rank = item.ndim - 1
    side, pool, x = CONSTANT[rank], MAX_POOL[rank], item[:, None]
    if any(n < side for n in item.shape[1:]):
        return torch.zeros_like(item, dtype=torch.bool)
    same = (pool(x, side, 1) == -pool(-x, side, 1)).to(torch.float32)
    return pool(F.pad(same, [side - 1] * (2 * rank)), side, 1)[:, 0] > 0


def is_drawn(item: Float[Tensor, "C ..."], constant: Bool[Tensor, "C ..."]) -> bool:
    """Whether constant areas have many different values, as in drawings, screenshots and smoothed signals.

    Bars, masks, overexposed areas and digital silence have one or two.
    """
    counts = item[constant].unique(return_counts=True)[1]
    return int((counts >= DRAWN_SHARE * item.numel()).sum()) >= DRAWN_VALUES


def clipped_ends(item: Float[Tensor, "C ..."]) -> tuple[float, float]:
    """Values at which the signal was clipped from below and above; infinite where it was not."""
    low, high, least = item.min(), item.max(), max(SPIKE * item.numel(), FEWEST)
    return (
        float(low) if int((item == low).sum()) > least else -math.inf,
        float(high) if int((item == high).sum()) > least else math.inf,
    )


def kept_variance(mean: Float[Tensor, "..."], ends: tuple[float, float], sigma: float) -> Float[Tensor, "..."]:
    """Fraction of the variance of noise of `sigma` that is left after clipping, where the clipped signal has this mean.

    With u the distance of the unclipped mean from a clipping value in units of sigma, the clipped mean is E = u Phi(u)
    + phi(u) from it, with the variance (u^2 + 1) Phi(u) + u phi(u) - E^2.
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
