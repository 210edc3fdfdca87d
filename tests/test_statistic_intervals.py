"""Intervals of a mean over a region and of a difference of two, on a posterior that is known."""

import pytest
import torch

from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.operators import Denoise
from vqfusion.errors import UserError
from vqfusion.models.restoration.restoring import restore
from vqfusion.models.restoration.statistic_intervals import (
    calibrate_statistic,
    difference_of,
    mean_of,
    statistic_interval,
)

SIGMA, SIZE, COUNT = 0.2, 12, 150
LEFT = torch.zeros(SIZE, SIZE, dtype=torch.bool)
LEFT[2:8, :5] = True


class Independent:
    """Elements N(1/2, 0.2^2), so that the posterior of each is known, and that of a mean too."""

    sigma_range = (0.002, 1.0)

    def denoise(self, x, sigma):
        levels = torch.as_tensor(sigma, dtype=x.dtype).expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))
        return 0.5 + 0.04 / (0.04 + levels**2) * (x - 0.5)


@pytest.fixture(scope="module")
def drawn():
    found = []
    for seed in (1, 2):
        x = 0.5 + 0.2 * torch.randn(COUNT, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
        y = Denoise(SIGMA).measure(x, seeded(1000 * seed, COUNT))
        made = restore(Independent(), y, Denoise(SIGMA), "sample", 12, 8, generator=seeded(1000 * seed + 500, COUNT))
        found.append((x, made.samples))
    return found


@pytest.mark.parametrize("statistic, parts", [(mean_of(LEFT), 1), (difference_of(LEFT, LEFT.flip(1)), 2)])
def test_calibrated_intervals_hold_and_are_those_of_the_posterior(drawn, statistic, parts):
    (x, samples), (x_new, samples_new) = drawn
    lower, upper = statistic_interval(samples_new, statistic)
    raw = ((statistic(x_new) >= lower) & (statistic(x_new) <= upper)).float().mean()
    assert raw < 0.82, "12 samples of 8 steps are too narrow"
    calibration = calibrate_statistic(samples, x, statistic)
    lower, upper = statistic_interval(samples_new, statistic, calibration=calibration)
    held = ((statistic(x_new) >= lower) & (statistic(x_new) <= upper)).float().mean()
    assert held == pytest.approx(0.9, abs=0.07)
    best = 2 * 1.645 * (parts * 0.02 / 30) ** 0.5  # of the posterior: variance 0.02 for each of 30 elements
    assert 0.85 * best < float((upper - lower).mean()) < 1.4 * best


def test_mistakes_are_one_line(drawn):
    (x, samples), _ = drawn
    for mistake, words in (
        (lambda: mean_of(torch.zeros(4, 4, dtype=torch.bool)), "something in it"),
        (lambda: statistic_interval(samples[:, :1], mean_of(LEFT)), "two samples"),
        (
            lambda: statistic_interval(samples, mean_of(LEFT), 0.8, calibrate_statistic(samples, x, mean_of(LEFT))),
            "0.8",
        ),
    ):
        with pytest.raises(UserError, match=words):
            mistake()
