"""Intervals: conformal factors, coverage on a posterior that is known, groups, warnings, files."""

import json

import pytest
import torch

from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.operators import Denoise
from vqfusion.errors import UserError
from vqfusion.models.restoration.intervals import (
    EVERYTHING,
    Calibration,
    conformal_quantile,
    coverage_by_group,
    interval_scores,
)
from vqfusion.models.restoration.regions import CLASSES, LEVEL_NAMES, REGIONS, class_names, region_classes
from vqfusion.models.restoration.residual_band import FEATURES, ResidualBand, local_features
from vqfusion.models.restoration.residual_statistics import statistics
from vqfusion.models.restoration.restoring import restore

SIGMA = 0.2


class Independent:
    """Elements N(1/2, 0.2^2), so that the posterior of each is known."""

    sigma_range = (0.002, 1.0)

    def denoise(self, x, sigma):
        levels = torch.as_tensor(sigma, dtype=x.dtype).expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))
        return 0.5 + 0.04 / (0.04 + levels**2) * (x - 0.5)


def signals(count, seed):
    x = 0.5 + 0.2 * torch.randn(count, 1, 24, 24, generator=torch.Generator().manual_seed(seed))
    return x, Denoise(SIGMA).measure(x, seeded(seed + 100, count))


def sampled(y, **settings):
    return restore(Independent(), y, Denoise(SIGMA), "interval", 12, 8, generator=seeded(0, len(y)), **settings)


def test_conformal_quantile():
    scores = torch.arange(1, 100).float()[torch.randperm(99, generator=torch.Generator().manual_seed(0))]
    assert conformal_quantile(scores, 0.9) == 90.0  # ceil(100 * 0.9)
    with pytest.raises(UserError, match="too few"):
        conformal_quantile(torch.arange(5).float(), 0.9)


def test_scores_are_the_factors_that_just_hold():
    lower, upper, centre = torch.tensor([0.0]), torch.tensor([1.0]), torch.tensor([0.25])
    assert float(interval_scores(lower, upper, torch.tensor([1.0]))) == 1.0
    assert float(interval_scores(lower, upper, torch.tensor([1.75]), centre)) == 2.0
    assert float(interval_scores(lower, upper, torch.tensor([-0.25]), centre)) == 2.0


def test_coverage_on_a_known_posterior():
    """Raw quantiles of 12 draws of 8 steps hold too little; calibrated on 20 signals they hold 90 % of 20 others."""
    (x, y), (x_new, y_new) = signals(20, 1), signals(20, 2)
    made = sampled(y)
    assert "not calibrated" in made.warnings[0]
    raw = coverage_by_group(made.lower, made.upper, x)[EVERYTHING]
    assert raw.share < 0.85
    calibration = Calibration.fit(made.lower, made.upper, x, centre=made.mean)
    found = sampled(y_new, calibration=calibration)
    held = coverage_by_group(found.lower, found.upper, x_new)[EVERYTHING]
    assert held.share == pytest.approx(0.9, abs=0.015) and not found.warnings
    best = 2 * 1.645 * (0.04 * SIGMA**2 / (0.04 + SIGMA**2)) ** 0.5  # of the posterior itself
    assert best < held.width < 1.25 * best


def test_coverage_by_group():
    """One factor for all misses the groups; one for each does not."""
    truth = torch.randn(40, 500, generator=torch.Generator().manual_seed(0))
    truth[20:] *= 3
    groups = ["calm"] * 20 + ["wild"] * 20
    lower, upper = torch.full_like(truth, -1.0), torch.full_like(truth, 1.0)
    calibration = Calibration.fit(lower[::2], upper[::2], truth[::2], groups[::2])
    rest = slice(1, None, 2)
    together = coverage_by_group(*calibration.apply(lower[rest], upper[rest]), truth[rest], groups[rest])
    assert together["all"].share == pytest.approx(0.9, abs=0.02)
    assert together["calm"].share > 0.98 and together["wild"].share < 0.85
    for group in ("calm", "wild"):
        chosen = [i for i in range(1, 40, 2) if groups[i] == group]
        held = coverage_by_group(*calibration.apply(lower[chosen], upper[chosen], group=group), truth[chosen])
        assert held["all"].share == pytest.approx(0.9, abs=0.02)
    assert calibration.elements == {"all": 10_000, "calm": 5_000, "wild": 5_000}


def test_regions_of_an_estimate():
    mean = torch.full((1, 1, 48, 64), 0.5)
    mean[..., :16] = 0.5 + 0.2 * torch.randn(48, 16, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    mean[..., 48:] = 0.75  # beyond an edge
    mean[..., 40:, 24:32], mean[..., 40:, 32:40] = 0.02, 0.09
    names = [[class_names(int(k)) for k in row] for row in region_classes(mean, torch.tensor([0.05]))[0, 0]]
    found = {place: names[y][x][0] for place, (y, x) in {"noisy": (20, 7), "calm": (12, 30), "step": (12, 47)}.items()}
    assert found == {"noisy": "texture", "calm": "flat", "step": "edge"}
    assert names[44][28][0] == "clipped" and names[44][36][0] == "dark"
    assert {level for row in names for _, level in row} == {"medium noise"}
    levels = torch.tensor([0.01, 0.2])
    apart = region_classes(mean.expand(2, -1, -1, -1), levels) % len(LEVEL_NAMES)
    assert apart[0].unique().tolist() == [0] and apart[1].unique().tolist() == [2]
    assert CLASSES == len(REGIONS) * len(LEVEL_NAMES)


def test_each_region_holds_what_was_asked_and_rare_ones_are_drawn_to_the_rest():
    """One factor for all misses a region with other errors; a class seen in no picture has the factor of all."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.zeros(80, 1000, dtype=torch.int64)
    classes[:, 500:] = 7
    classes[0, :250] = 9  # in one picture, with much larger errors
    truth = torch.randn(80, 1000, generator=generator) * torch.where(classes == 7, 3.0, 1.0)
    truth = truth * torch.where(classes == 9, 30.0, 1.0)
    lower, upper = torch.full_like(truth, -1.0), torch.full_like(truth, 1.0)
    fitted, rest = slice(0, 60), slice(60, 80)
    made = Calibration.fit(lower[fitted], upper[fitted], truth[fitted], classes=classes[fitted])
    ends = made.apply(lower[rest], upper[rest], classes=classes[rest])
    inside = (truth[rest] >= ends[0]) & (truth[rest] <= ends[1])
    one = [(truth[rest].abs() <= made.scales["all"])[classes[rest] == k].float().mean() for k in (0, 7)]
    assert one[0] > 0.97 and one[1] < 0.87
    assert all(inside[classes[rest] == k].float().mean() == pytest.approx(0.9, abs=0.045) for k in (0, 7))
    factors = made.regional["all"]
    assert factors[3] == made.scales["all"] and len(factors) == CLASSES
    assert factors[9] < 2 * made.scales["all"]  # alone it would be ten times that
    without = made.apply(lower, upper)
    assert float(without[1][0, 0]) == pytest.approx(made.scales["all"])


@pytest.mark.parametrize("kind", ["stripes", "heavy tails", "uneven", "brightness"])
def test_noise_unlike_the_calibration_is_told_by_its_residual(kind):
    generator = torch.Generator().manual_seed(0)
    mean = (torch.linspace(0.2, 0.8, 64)[:, None] * torch.ones(64))[None, None].expand(40, 1, -1, -1)
    white = torch.randn(mean.shape, generator=generator)

    def found(noise: torch.Tensor) -> list[dict[str, float]]:
        return statistics(mean[: len(noise)] + 0.05 * noise, mean[: len(noise)], Denoise(0.05), torch.tensor([0.05]))

    truth = torch.randn(4, 50, generator=generator)
    calibration = Calibration.fit(truth - 1, truth + 1, truth, found=found(white))
    assert sum(bool(calibration.warnings(one)) for one in found(torch.randn(white.shape, generator=generator))) <= 2
    odd = {
        "stripes": 0.9 * white + 0.45 * torch.randn(40, 1, 64, 1, generator=generator),
        "heavy tails": white * torch.rand(white.shape, generator=generator).clamp(min=1e-6).log().neg().sqrt(),
        "uneven": white * torch.linspace(0.4, 1.5, 64),
        "brightness": white * (mean / 0.5) ** 0.5,
    }[kind]
    assert sum(bool(calibration.warnings(one)) for one in found(odd[:20])) >= 18


def test_band_about_the_mean():
    """It finds where residuals are large, costs one call, and is narrower than a constant one of the same coverage."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(12, 1, 24, 24, generator=generator)
    mean[..., :12] = 0.5  # flat there, rough elsewhere
    local = torch.where(torch.arange(24) < 12, 0.01, 0.1)
    truth = mean + local * torch.randn(12, 1, 24, 24, generator=generator)
    guess = mean + 0.1 * torch.randn(12, 1, 24, 24, generator=generator)
    features = local_features(mean, guess, torch.tensor([SIGMA]))
    assert features.shape == (12, 1, 24, 24, FEATURES)
    band = ResidualBand.fit(features[:4].reshape(-1, FEATURES), (truth - mean)[:4].flatten(), steps=200, batch=1024)
    half = band(mean, guess, torch.tensor([SIGMA]))
    parts = mean[4:8] - half[4:8], mean[4:8] + half[4:8], truth[4:8]
    calibration = Calibration.fit(*parts, band=band)
    held = coverage_by_group(*calibration.apply(mean[8:] - half[8:], mean[8:] + half[8:]), truth[8:])["all"]
    same = Calibration.fit(mean[4:8] - 1, mean[4:8] + 1, truth[4:8])
    constant = coverage_by_group(*same.apply(mean[8:] - 1, mean[8:] + 1), truth[8:])["all"]
    assert held.share == pytest.approx(0.9, abs=0.03) and held.width < 0.85 * constant.width
    made = restore(Independent(), guess[:2], Denoise(SIGMA), "interval", calibration=calibration)
    assert made.nfe == 1 and made.samples is None
    assert bool((made.lower < made.mean).all()) and bool((made.mean < made.upper).all())


def test_inputs_unlike_the_calibration_data_are_said():
    x, y = signals(40, 3)
    made = sampled(y)
    found = statistics(y, made.mean, Denoise(SIGMA), made.sigma)
    calibration = Calibration.fit(made.lower, made.upper, x, centre=made.mean, found=found)
    smooth = torch.nn.functional.avg_pool2d(y[:1], 3, 1, 1) + 0.1  # noise that is not white, in a brighter picture
    warnings = sampled(smooth, calibration=calibration).warnings
    assert any("likeness" in line for line in warnings) and all("\n" not in line for line in warnings)
    assert not sampled(signals(1, 9)[1], calibration=calibration).warnings


def test_saved_and_loaded(tmp_path):
    truth = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    band = ResidualBand.fit(torch.rand(100, FEATURES), torch.rand(100), steps=2, batch=10)
    found = [{"sigma": 0.1}, {"sigma": 0.2}]
    classes = torch.arange(200).reshape(4, 50) % CLASSES
    made = Calibration.fit(truth - 1, truth + 1.5, truth * 1.1, list("abab"), found=found, band=band, classes=classes)
    made.save(tmp_path / "calibration.json")
    assert Calibration.load(tmp_path / "calibration.json") == made
    older = json.loads((tmp_path / "calibration.json").read_text())
    older["band"]["middle"].pop()
    for text in (json.dumps(older), "{}", "no", '{"coverage": 1}', "[]"):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(UserError, match="not a calibration"):
            Calibration.load(tmp_path / "other.json")


@pytest.mark.parametrize(
    "mistake, words",
    [
        (lambda t, c: Calibration.fit(t[:, :2], t, t), "one shape"),
        (lambda t, c: Calibration.fit(t, t, t, ["a"]), "name one for each"),
        (lambda t, c: Calibration.fit(t, t, t, ["all"] * len(t)), "cannot be called"),
        (lambda t, c: Calibration.fit(t, t, t * float("nan")), "NaN"),
        (lambda t, c: Calibration.fit(t, t, t, coverage=1.5), "between 0 and 1"),
        (lambda t, c: c.apply(t, t, group="night"), "night"),
        (lambda t, c: sampled(torch.rand(1, 1, 8, 8), calibration=c, coverage=0.8), "coverage of 0.9, not 0.8"),
    ],
)
def test_mistakes_are_one_line(mistake, words):
    truth = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match=words) as caught:
        mistake(truth, Calibration.fit(truth - 1, truth + 1, truth * 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [(9,), (9, 8), (6, 7, 8)])
def test_features_of_signals_smaller_than_their_windows(size):
    mean = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    features = local_features(mean, mean, torch.tensor([0.1]))
    assert features.shape == (*mean.shape, FEATURES) and bool(features.isfinite().all())
