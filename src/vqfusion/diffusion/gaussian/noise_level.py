"""The standard deviation of Gaussian noise, from the noisy signal alone."""

import math
from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.gaussian.odd_areas import MAX_POOL, clipped_ends, constant_areas, is_drawn, kept_variance
from vqfusion.errors import UserError

SIDES = {1: 32, 2: 8, 3: 4}  # of a patch, by rank
BLOCKS = {1: 4096, 2: 64, 3: 20}  # side of a block that is estimated on its own
MOST = 100  # blocks that are looked at, spread over the signal
SHARE = 0.25  # of the blocks, those with the least estimates, count
ENOUGH = 4  # patches for each of their elements
NEAR = {1: 9, 2: 5, 3: 3}  # side of the window whose mean tells how far a place is from the ends
WHOLE = (0.8, 0.5, 0.2, 0.0)  # least share of its variance that noise kept in a patch; the first that enough have
BLOCKS_LEFT = 1 / 8  # share of the blocks in which enough have it
ROUNDS = 4  # of the level, and of what clipping leaves at this level
MEAN_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}

Place = tuple[slice, ...]  # of a block, along the axes of the signal


def estimate_noise(y: Float[Tensor, "B C ..."]) -> Float[Tensor, " B"]:
    """Sigma of each item, in its units, at any rank; 0 where there is none.

    Patches of a signal lie near a subspace, so the least eigenvalues of their covariance are those of the noise: Chen,
    Zhu, Heng (2015), algorithm 1, in blocks. Fine texture passes for noise, but seldom fills a whole signal, so the
    patches of the quarter of blocks that seem the least noisy are judged together. White noise is assumed, as strong
    in all channels and places.

    Constant areas (bars, masks, digital silence) say nothing of the noise elsewhere and are left out, unless they have
    many values: then the signal was drawn or smoothed, and has none. Where noise was clipped the estimate is that of
    the noise before: the variance of each patch is divided by the share that clipping leaves at its brightness (Foi,
    2009), and patches far from the ends go first. Raises UserError where the signal is too small for its patches.
    """
    return torch.stack([_estimate(item) for item in y])


def _estimate(item: Float[Tensor, "C ..."]) -> Float[Tensor, ""]:
    rank = item.ndim - 1
    side = SIDES[rank]
    if any(n < 2 * side for n in item.shape[1:]):
        raise UserError(
            f"noise cannot be estimated from {list(item.shape[1:])}: give sigma (needs {2 * side} a side or more)"
        )
    values, constant = item.double(), constant_areas(item)
    if is_drawn(item, constant):
        return item.new_zeros(())
    live = MAX_POOL[rank](constant[:, None].to(values), side, 1)[:, 0] == 0
    known = [(place, live[_corners(place, side)].flatten()) for place in block_places(item.shape[1:])]
    known = [(place, there) for place, there in known if int(there.sum()) >= ENOUGH * side**rank]
    if not known:
        return item.new_zeros(())
    level = pooled_level([torch.cov(patches(values, place, side)[there].T) for place, there in known])
    ends = clipped_ends(item)
    for _ in range(ROUNDS if any(map(math.isfinite, ends)) else 0):
        before, level = level, _before_clipping(values, known, ends, level)
        if abs(level - before) <= 0.01 * before:
            break
    return item.new_tensor(level)


def _before_clipping(
    values: Float[Tensor, "C ..."],
    known: Sequence[tuple[Place, Bool[Tensor, " N"]]],
    ends: tuple[float, float],
    level: float,
) -> float:
    """A better level, from one that may be too low because values were clipped at `ends`."""
    rank = values.ndim - 1
    side, near, mean_pool = SIDES[rank], NEAR[rank], MEAN_POOL[rank]
    mean = mean_pool(values[:, None], near, 1, padding=near // 2, count_include_pad=False)
    kept = kept_variance(mean, ends, max(level, 1e-6 * float(values.abs().max())))
    average, least = mean_pool(kept, side, 1)[:, 0], -MAX_POOL[rank](-kept, side, 1)[:, 0]
    for whole in WHOLE:
        covariances = []
        for place, there in known:
            there = there & (least[_corners(place, side)].flatten() >= whole)
            if int(there.sum()) >= ENOUGH * side**rank:
                share = average[_corners(place, side)].flatten()[there].mean().clamp(min=1e-3)
                covariances.append(torch.cov(patches(values, place, side)[there].T) / share)
        if len(covariances) >= max(1, BLOCKS_LEFT * len(known)):
            break
    return pooled_level(covariances)


def block_places(size: Sequence[int], most: int = MOST) -> list[Place]:
    """Blocks of a signal `[*size]`, spread over it where there are over `most`."""
    block = BLOCKS[len(size)]
    corners = list(product(*(range(0, max(1, n - block + 1), block) for n in size)))
    corners = corners[:: -(-len(corners) // most)]
    return [tuple(slice(start, min(n, start + block)) for start, n in zip(c, size, strict=True)) for c in corners]


def patches(values: Float[Tensor, "C ..."], place: Place, side: int, step: int = 1) -> Float[Tensor, "N D"]:
    """All patches of this side within a block, of each channel on its own, `step` elements apart."""
    found = values[(slice(None), *place)]
    rank = values.ndim - 1
    for axis in range(1, rank + 1):
        found = found.unfold(axis, side, step)
    return found.flatten(rank + 1).flatten(0, rank)


def pooled_level(covariances: Sequence[Float[Tensor, "D D"]]) -> float:
    """The level of the blocks that seem the least noisy, together."""
    levels = torch.stack([noise_eigenvalue(torch.linalg.eigvalsh(c)) for c in covariances])
    lowest = levels.argsort()[: max(1, round(SHARE * len(levels)))].tolist()
    pooled = torch.stack([covariances[i] for i in lowest]).mean(0)
    return float(noise_eigenvalue(torch.linalg.eigvalsh(pooled)).clamp(min=0).sqrt())


def noise_eigenvalue(values: Float[Tensor, " N"]) -> Float[Tensor, ""]:
    """The mean of the greatest set of least `values` (rising) in which as many lie above the mean as below it."""
    for count in range(len(values), 1, -1):
        mean = values[:count].mean()
        if int((values[:count] > mean).sum()) >= int((values[:count] < mean).sum()):
            return mean
    return values[0]


def _corners(place: Place, side: int) -> tuple[slice, ...]:
    """Where the patches of a block begin, in maps of all channels."""
    return (slice(None), *(slice(axis.start, axis.stop - side + 1) for axis in place))
