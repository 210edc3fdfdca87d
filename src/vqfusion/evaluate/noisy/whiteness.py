"""Test for structure in what a denoiser took away: autocorrelation, its significance, and the spectrum."""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

LAGS = {1: 10, 2: 3, 3: 2}  # largest distance along each axis, by rank
BANDS = 12


@dataclass(frozen=True)
class Whiteness:
    """Autocorrelation of a residual.

    Attributes:
        along: Correlation `[rank][lag]` of elements 1, 2, ... apart along each axis.
        largest: The correlation of largest magnitude over all lags.
        p: Probability of a statistic at least as large for white noise.
        level: Level of the test.
    """

    along: tuple[tuple[float, ...], ...]
    largest: float
    p: float
    level: float

    @property
    def is_white(self) -> bool:
        """Whether white noise is not rejected."""
        return self.p >= self.level


def whiteness(residual: Float[Tensor, "B C ..."], level: float = 0.01) -> Whiteness:
    """Test whether the elements of residuals are uncorrelated.

    For each lag the sum of products e_i e_{i + lag} over the root of the sum of their squares is standard normal for
    uncorrelated noise, also where its level varies; the statistic is the sum of their squares over all lags up to
    `LAGS` along each axis (Box, Pierce, 1970, for several axes), chi-square with one degree of freedom for each.

    Args:
        residual: Residuals; the mean of each is subtracted.
        level: Level of the test: the share of white residuals that it rejects.

    Returns:
        Autocorrelation and result.
    """
    rank = residual.ndim - 2
    e = residual.double()
    e = e - e.mean(dim=tuple(range(2, e.ndim)), keepdim=True)
    variance = float(e.square().mean()) or 1.0
    reach = [min(LAGS[rank], n - 1) for n in e.shape[2:]]
    found: dict[tuple[int, ...], float] = {}
    total, count = 0.0, 0
    for lag in product(*(range(-r, r + 1) for r in reach)):
        if lag <= (0,) * rank:  # one of each pair of opposite lags
            continue
        products = _shifted(e, lag) * _shifted(e, tuple(-step for step in lag))
        found[lag] = float(products.mean()) / variance
        total += float(products.sum().square() / products.square().sum().clamp(min=1e-300))
        count += 1
    along = tuple(
        tuple(found[tuple(step if a == axis else 0 for a in range(rank))] for step in range(1, reach[axis] + 1))
        for axis in range(rank)
    )
    tail = torch.special.gammaincc(torch.tensor(count / 2, dtype=torch.float64), torch.tensor(total / 2).double())
    return Whiteness(along, max(found.values(), key=abs, default=0.0), float(tail), level)


def spectrum(residual: Float[Tensor, "B C ..."]) -> Float[Tensor, " K"]:
    """Power of residuals in bands of equal width of the frequency, relative to its mean: 1 everywhere for white noise.

    The last band ends at half of the sampling rate along an axis.
    """
    axes = tuple(range(2, residual.ndim))
    e = residual.double()
    e = e - e.mean(dim=axes, keepdim=True)
    power = torch.fft.fftn(e, dim=axes).abs().square().mean(dim=(0, 1))
    grids = torch.meshgrid(*(torch.fft.fftfreq(n) for n in e.shape[2:]), indexing="ij")
    radius = torch.stack([grid.square() for grid in grids]).sum(0).sqrt()
    band = (radius * 2 * BANDS).long().flatten()
    keep = (band < BANDS) & (radius.flatten() > 0)
    sums = torch.zeros(BANDS, dtype=torch.float64).index_add_(0, band[keep], power.flatten()[keep])
    counts = torch.bincount(band[keep], minlength=BANDS)
    return sums / counts.clamp(min=1) / power.flatten()[radius.flatten() > 0].mean().clamp(min=1e-300)


def _shifted(e: Tensor, lag: tuple[int, ...]) -> Tensor:
    """Elements that have a partner at distance `lag`."""
    for axis, step in enumerate(lag, start=2):
        e = e.narrow(axis, max(0, step), e.shape[axis] - abs(step))
    return e
