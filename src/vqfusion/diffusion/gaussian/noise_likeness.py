"""Noise that is correlated between neighbours, measured in flat areas.

It occurs after demosaicing, scaling and JPEG, and on film.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import SIDES, block_places, patches
from vqfusion.diffusion.gaussian.odd_areas import clipped_ends, constant_areas

BLOCKS = {1: 4096, 2: 64, 3: 20}  # side of a block of patches
MOST = 100  # blocks that are looked at, spread over the signal
STEP = 3  # elements from one patch to the next
FLATTEST, FLAT = 0.05, 0.2  # fractions of the patches
FEWEST = 20  # least number of patches
ODD = (0.0, 0.1, 0.3)  # allowed fractions of constant or clipped elements; the first that leaves enough patches is used


@dataclass(frozen=True)
class FlatAreas:
    """Statistics of the flattest patches of a signal, after their mean and slope are removed.

    Attributes:
        level: Standard deviation in the units of the signal.
        likeness: Correlation of adjacent elements, about 0 for white noise.
        likeness_2: Correlation of elements two apart.
        unevenness: Standard deviation of the flattest fifth relative to `level`: about 1.1 for noise, more for texture.
    """

    level: float
    likeness: float
    likeness_2: float
    unevenness: float


NOTHING = FlatAreas(0.0, 0.0, 0.0, 1.0)


def flat_areas(item: Float[Tensor, "C ..."]) -> FlatAreas:
    """Statistics of the flat areas of one signal; patches with constant or clipped elements are used if needed."""
    rank = item.ndim - 1
    side = SIDES[rank]
    if any(n < side for n in item.shape[1:]):
        return NOTHING
    low, high = clipped_ends(item)
    odd = (constant_areas(item) | (item <= low) | (item >= high)).float()
    rests, shares = [], []
    basis = mean_and_slopes(side, rank)
    for place in block_places(item.shape[1:], BLOCKS[rank], MOST):
        found = patches(item.float(), place, side, STEP)
        rests.append(found - (found @ basis) @ basis.T)
        shares.append(patches(odd, place, side, STEP).mean(1))
    rest, share = torch.cat(rests), torch.cat(shares)
    enough = [most for most in ODD if int((share <= most).sum()) >= FEWEST]
    if not enough:
        return NOTHING
    rest = rest[share <= enough[0]]
    energy = rest.square().mean(1)
    order = energy.argsort()
    flattest = order[: max(FEWEST, int(FLATTEST * len(order)))]
    variance = float(energy[flattest].mean())
    if variance <= 0:
        return NOTHING
    wide = float(energy[order[: max(FEWEST, int(FLAT * len(order)))]].mean())
    shaped = rest[flattest].unflatten(1, (side,) * rank)
    return FlatAreas(
        variance**0.5,
        _correlation(shaped, 1) / variance,
        _correlation(shaped, 2) / variance,
        (wide / variance) ** 0.5,
    )


def _correlation(patch: Float[Tensor, "N ..."], apart: int) -> float:
    """Mean product of elements at distance `apart` along an axis, averaged over axes."""
    axes = range(1, patch.ndim)
    products = [
        (patch.narrow(axis, apart, patch.shape[axis] - apart) * patch.narrow(axis, 0, patch.shape[axis] - apart)).mean()
        for axis in axes
    ]
    return float(torch.stack(products).mean())


def mean_and_slopes(side: int, rank: int) -> Float[Tensor, "D K"]:
    """Orthonormal basis of the patches that are linear functions of the position."""
    line = torch.linspace(-1, 1, side)
    slopes = torch.meshgrid(*[line] * rank, indexing="ij")
    columns = torch.stack([torch.ones(side**rank), *(slope.flatten() for slope in slopes)], dim=1)
    return torch.linalg.qr(columns).Q
