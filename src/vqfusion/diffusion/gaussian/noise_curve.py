"""Noise whose variance grows with the brightness: photons and read-out noise, estimated from the signal itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import SIDES, block_places, patches
from vqfusion.diffusion.gaussian.noise_likeness import BLOCKS, MOST, STEP, mean_and_slopes
from vqfusion.diffusion.gaussian.odd_areas import clipped_ends, constant_areas
from vqfusion.nn.windows import local_mean

BINS, FEWEST = 12, 40  # classes of brightness, and patches that one needs
QUANTILE, NORMAL = 0.2, -0.8416  # of the energies in a class, and of the standard normal distribution
GROWTH = 2.0  # ratio of the variances at both ends from which on noise counts as growing
ORDERED = 0.8  # correlation of brightness and variance from which on it does
NEAR = {1: 9, 2: 5, 3: 3}  # side of the window whose mean is the brightness


@dataclass(frozen=True)
class NoiseCurve:
    """Variance of the noise as floor + gain x brightness, at least `least`, in the units of the signal."""

    floor: float
    gain: float
    least: float

    def sigma(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Standard deviation at each element of noisy signals, at the mean brightness of its surroundings."""
        return (self.floor + self.gain * local_mean(y, NEAR[y.ndim - 2])).clamp(min=self.least).sqrt()


def noise_curve(signals: Sequence[Float[Tensor, "C ..."]]) -> NoiseCurve | None:
    """Variance of the noise by brightness over signals of one kind; None where it does not grow.

    In each class of brightness the lowest fifth of the energies of patches, mean and slopes removed, is compared with
    that of white noise (the quantile of a chi-square distribution, by Wilson, Hilferty, 1931), and a line is fitted to
    the classes (the model of Foi et al., 2008).
    """
    brightness, energies, dof = [], [], 1.0
    for item in signals:
        rank = item.ndim - 1
        side = SIDES[rank]
        if any(n < side for n in item.shape[1:]):
            continue
        low, high = clipped_ends(item)
        odd = (constant_areas(item) | (item <= low) | (item >= high)).float()
        basis = mean_and_slopes(side, rank)
        dof = float(side**rank - rank - 1)
        for place in block_places(item.shape[1:], BLOCKS[rank], MOST):
            found = patches(item.float(), place, side, STEP)
            found = found[patches(odd, place, side, STEP).amax(1) == 0]
            brightness.append(found.mean(1))
            energies.append((found - (found @ basis) @ basis.T).square().sum(1) / dof)
    if not brightness:
        return None
    mean, energy = torch.cat(brightness).double(), torch.cat(energies).double()
    count = min(BINS, len(mean) // FEWEST)
    if count < 3:
        return None
    shrunk = (1 - 2 / (9 * dof) + NORMAL * (2 / (9 * dof)) ** 0.5) ** 3
    ends = torch.linspace(float(mean.quantile(0.01)), float(mean.quantile(0.99)), count + 1).double()
    points = []
    for left, right in zip(ends[:-1], ends[1:], strict=True):
        there = (mean >= left) & (mean <= right)
        if int(there.sum()) >= FEWEST:
            variance = energy[there].quantile(QUANTILE) / shrunk
            points.append((mean[there].median(), variance, there.sum().double().sqrt()))
    if len(points) < 3:
        return None
    x, v, weight = (torch.stack(part) for part in zip(*points, strict=True))
    if float(torch.corrcoef(torch.stack([x, v]))[0, 1]) < ORDERED:
        return None
    gain, floor = _line(x, v, weight / v.clamp(min=1e-12))
    dark, bright = floor + gain * float(x[0]), floor + gain * float(x[-1])
    least = max(0.25 * float(v.min()), 1e-12)
    if bright < GROWTH * max(dark, least):
        return None
    return NoiseCurve(floor, gain, least)


def _line(x: Tensor, v: Tensor, weight: Tensor) -> tuple[float, float]:
    """Slope and intercept of the line nearest to points by absolute distance, by reweighted least squares."""
    rows = torch.stack([x, torch.ones_like(x)], dim=1)
    scale = weight
    for _ in range(20):
        slope, base = torch.linalg.lstsq(rows * scale[:, None], (v * scale)[:, None]).solution.flatten().tolist()
        off = ((v - slope * x - base) * weight).abs()
        scale = weight / (off / off.median().clamp(min=1e-12)).clamp(min=0.5).sqrt()
    return slope, base
