"""Estimate of the standard deviation of Gaussian noise from the noisy signal alone."""

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
BLOCKS = {1: 4096, 2: 32, 3: 20}  # side of a block, by rank; each block has its own estimate
MOST = {1: 100, 2: 400, 3: 100}  # largest number of blocks, by rank, spread over the signal
SHARE = 0.25  # fraction of the blocks, those with the lowest estimates, that may be used
ABOVE = 1.3  # largest variance of a block that is used / lowest variance of a block: a higher one is texture
ENOUGH = 4  # least number of patches per patch element
NEAR = {1: 9, 2: 5, 3: 3}  # side of the window whose mean is the local brightness
WHOLE = (0.8, 0.5, 0.2, 0.0)  # thresholds of the variance left after clipping; the first that enough patches reach
BLOCKS_LEFT = 1 / 8  # fraction of the blocks that must have enough such patches
ROUNDS = 4  # iterations between the level and the effect of clipping at this level
MEAN_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}

Place = tuple[slice, ...]  # of a block, along the axes of the signal


def estimate_noise(y: Float[Tensor, "B C ..."]) -> Float[Tensor, " B"]:
    """Estimate sigma of each item, in its units, for any rank; 0 where there is no noise.

    Patches of a clean signal lie near a subspace, so the smallest eigenvalues of the covariance of patches are those of
    the noise: Chen, Zhu, Heng (2015), algorithm 1, applied to blocks. Fine texture looks like noise but seldom fills a
    whole signal, so the blocks with the lowest estimates are pooled, a quarter at most. Noise is assumed white, with
    the same level in all channels and positions.

    Constant areas (bars, masks, digital silence) are excluded; many different constant values mean that the signal was
    drawn or smoothed and has no noise. Where values were clipped, the result is the level before clipping: the variance
    of each patch is divided by the fraction that clipping leaves at its brightness (Foi, 2009), and patches far from
    the clipping values are preferred.

    Raises:
        UserError: The signal is too small for its patches.
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
    known = [
        (place, live[_corners(place, side)].flatten())
        for place in block_places(item.shape[1:], BLOCKS[rank], MOST[rank])
    ]
    known = [(place, there) for place, there in known if bool(there.all()) or int(there.sum()) >= ENOUGH * side**rank]
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
    """Correct a noise level that is too low because values were clipped at `ends`."""
    rank = values.ndim - 1
    side, near, mean_pool = SIDES[rank], NEAR[rank], MEAN_POOL[rank]
    mean = mean_pool(values[:, None], near, 1, padding=near // 2, count_include_pad=False)
    kept = kept_variance(mean, ends, max(level, 1e-6 * float(values.abs().max())))
    average, least = mean_pool(kept, side, 1)[:, 0], -MAX_POOL[rank](-kept, side, 1)[:, 0]
    for whole in WHOLE:
        covariances = []
        for place, there in known:
            there = there & (least[_corners(place, side)].flatten() >= whole)
            if whole == 0 or int(there.sum()) >= ENOUGH * side**rank:
                share = average[_corners(place, side)].flatten()[there].mean().clamp(min=1e-3)
                covariances.append(torch.cov(patches(values, place, side)[there].T) / share)
        if len(covariances) >= max(1, BLOCKS_LEFT * len(known)):
            break
    return pooled_level(covariances)


def block_places(size: Sequence[int], block: int, most: int) -> list[Place]:
    """Blocks of side `block` of a signal `[*size]`, spread over it where there are more than `most`."""
    corners = list(product(*(range(0, max(1, n - block + 1), block) for n in size)))
    corners = corners[:: -(-len(corners) // most)]
    return [tuple(slice(start, min(n, start + block)) for start, n in zip(c, size, strict=True)) for c in corners]


def patches(values: Float[Tensor, "C ..."], place: Place, side: int, step: int = 1) -> Float[Tensor, "N D"]:
    """All patches of this side within a block, from each channel separately, `step` elements apart."""
    found = values[(slice(None), *place)]
    rank = values.ndim - 1
    for axis in range(1, rank + 1):
        found = found.unfold(axis, side, step)
    return found.flatten(rank + 1).flatten(0, rank)


def pooled_level(covariances: Sequence[Float[Tensor, "D D"]]) -> float:
    """Noise level from the pooled covariances of the blocks with the lowest estimates."""
    levels = torch.stack([noise_eigenvalue(torch.linalg.eigvalsh(c)) for c in covariances])
    lowest = levels.argsort()[: max(1, round(SHARE * len(levels)))]
    lowest = lowest[levels[lowest] <= ABOVE * levels[lowest[0]]]
    pooled = torch.stack([covariances[i] for i in lowest.tolist() or [int(levels.argmin())]]).mean(0)
    return float(noise_eigenvalue(torch.linalg.eigvalsh(pooled)).clamp(min=0).sqrt())


def noise_eigenvalue(values: Float[Tensor, " N"]) -> Float[Tensor, ""]:
    """Mean of the largest set of smallest eigenvalues (`values` increase) with as many above the mean as below it."""
    for count in range(len(values), 1, -1):
        mean = values[:count].mean()
        if int((values[:count] > mean).sum()) >= int((values[:count] < mean).sum()):
            return mean
    return values[0]


def _corners(place: Place, side: int) -> tuple[slice, ...]:
    """Index of the first elements of the patches of a block, in maps of all channels."""
    return (slice(None), *(slice(axis.start, axis.stop - side + 1) for axis in place))
