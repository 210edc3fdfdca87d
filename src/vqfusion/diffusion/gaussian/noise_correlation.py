"""Correlation of noise between neighbours, along each axis, measured in the flattest patches of a signal."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import SIDES, block_places, patches
from vqfusion.diffusion.gaussian.noise_likeness import BLOCKS, MOST, STEP, mean_and_slopes
from vqfusion.diffusion.gaussian.odd_areas import clipped_ends, constant_areas

LAGS = {1: 8, 2: 4, 3: 2}  # distances that are measured, by rank of the signal
FLATTEST, FEWEST = 0.1, 64  # fraction and least number of the patches


@dataclass(frozen=True)
class NoiseCorrelation:
    """Noise in the flattest patches.

    Attributes:
        level: Standard deviation in the units of the signal; 0 where too few patches were found.
        correlation: Correlation `[rank, lags]` of elements 1, 2, ... apart along each axis; about 0 for white noise.
    """

    level: float
    correlation: Float[Tensor, "R L"]


def noise_correlation(item: Float[Tensor, "C ..."]) -> NoiseCorrelation:
    """Level and correlation of the noise of one signal `[C, *size]`.

    The tenth of the patches with the least energy, once their mean and slopes are removed, is taken for noise. What the
    removal does to white noise is known exactly and subtracted. Patches with constant or clipped elements are left out.
    """
    rank = item.ndim - 1
    side, lags = SIDES[rank], LAGS[rank]
    nothing = NoiseCorrelation(0.0, torch.zeros(rank, lags))
    if any(n < side for n in item.shape[1:]):
        return nothing
    low, high = clipped_ends(item)
    odd = (constant_areas(item) | (item <= low) | (item >= high)).float()
    basis = mean_and_slopes(side, rank)
    rests = []
    for place in block_places(item.shape[1:], BLOCKS[rank], MOST):
        found = patches(item.float(), place, side, STEP)
        found = found[patches(odd, place, side, STEP).amax(1) == 0]
        rests.append(found - (found @ basis) @ basis.T)
    rest = torch.cat(rests)
    if len(rest) < FEWEST:
        return nothing
    order = rest.square().sum(1).argsort()
    rest = rest[order[: max(FEWEST, int(FLATTEST * len(order)))]]
    kept = torch.eye(side**rank) - basis @ basis.T  # covariance of white noise of variance 1 after the removal
    covariance = rest.T @ rest / len(rest)
    variance = float(covariance.trace() / kept.trace())
    if variance <= 0:
        return nothing
    shape = (side,) * rank
    found = torch.stack([_lagged(covariance, shape, axis, lags) for axis in range(rank)]) / variance
    white = torch.stack([_lagged(kept, shape, axis, lags) for axis in range(rank)])
    return NoiseCorrelation(variance**0.5, found - white)


def _lagged(covariance: Float[Tensor, "D D"], shape: tuple[int, ...], axis: int, lags: int) -> Float[Tensor, " L"]:
    """Mean of the covariances of elements 1, ..., `lags` apart along an axis of a patch."""
    places = torch.arange(len(covariance)).reshape(shape)
    means = []
    for lag in range(1, lags + 1):
        a = places.narrow(axis, 0, shape[axis] - lag).flatten()
        b = places.narrow(axis, lag, shape[axis] - lag).flatten()
        means.append(covariance[a, b].mean())
    return torch.stack(means)
