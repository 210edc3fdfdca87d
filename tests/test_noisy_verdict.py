"""The report on training without clean data: tests hold their level, estimates are right, failures are found."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from vqfusion.config import OwnNoiseConfig
from vqfusion.evaluate.noisy.baselines import baselines, local_median
from vqfusion.evaluate.noisy.judge import _normal_coverage, judge
from vqfusion.evaluate.noisy.verdict import verdict
from vqfusion.evaluate.noisy.whiteness import spectrum, whiteness
from vqfusion.models.restoration.prior import Prior

SIGMA, SIDE = 0.1, 144


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smoothed(x: torch.Tensor, width: float) -> torch.Tensor:
    """Circular Gaussian blur of `[..., H, W]`."""
    f = torch.meshgrid(torch.fft.fftfreq(x.shape[-2]), torch.fft.fftfreq(x.shape[-1]), indexing="ij")
    decay = torch.exp(-2 * (torch.pi * width) ** 2 * (f[0].square() + f[1].square()))
    return torch.fft.ifft2(torch.fft.fft2(x) * decay).real


def field(seed: int) -> torch.Tensor:
    """A Gaussian random picture `[1, H, W]` with structure of several sizes, deviation 0.2."""
    noise = torch.randn(1, SIDE, SIDE, generator=generator(1000 + seed))
    x = smoothed(noise, 2.0) * 2 + smoothed(noise, 6.0) * 20
    return 0.5 + 0.2 * x / x.std()


def wiener(seed: int):
    """The best denoiser of such pictures: their power against that of the noise."""
    power = torch.stack([torch.fft.fft2(field(s + 50)).abs().square() for s in range(20)]).mean(0)
    gain = power / (power + SIGMA**2 * SIDE**2)
    gain[..., 0, 0] = 1.0

    def denoise(y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return torch.fft.ifft2(torch.fft.fft2(y) * gain).real

    return denoise


class Known(Prior):
    """A known denoiser in the place of a network."""

    def __init__(self, denoise, method: str = "recorrupted"):
        torch.nn.Module.__init__(self)
        self.noise = OwnNoiseConfig(method=method, reach=(0, 0), stride=(1, 1))
        self.config = SimpleNamespace(rank=2, noise=self.noise)
        self.network = SimpleNamespace(multiple=8)  # type: ignore[assignment]
        self.of_part = lambda x, levels: denoise(x, levels)


def test_the_whiteness_test_holds_its_level_and_has_power():
    """100 white residuals of uneven level; then a correlation of 0.05."""
    rejected, found = 0, 0
    uneven = 0.5 + torch.linspace(0, 1, 64).expand(64, 64)
    for seed in range(100):
        noise = torch.randn(1, 1, 64, 64, generator=generator(seed))
        rejected += not whiteness(uneven * noise, level=0.05).is_white
        planted = noise + 0.05 * noise.roll(1, -1)
        found += not whiteness(planted, level=0.05).is_white
    assert rejected <= 11, "5 are expected; the 99 % quantile of Binomial(100, 0.05) is 11"
    assert found >= 35
    strong = whiteness(smoothed(noise, 0.7))
    assert strong.p < 1e-6 and strong.along[0][0] == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("size", [(500,), (40, 44), (12, 14, 16)])
def test_the_whiteness_test_takes_every_rank(size):
    noise = torch.randn(1, 1, *size, generator=generator(0))
    assert whiteness(noise, 1e-4).is_white and len(whiteness(noise).along) == len(size)
    assert float(spectrum(noise).mean()) == pytest.approx(1, abs=0.4)
    slow = noise.cumsum(-1)
    assert not whiteness(slow).is_white and float(spectrum(slow)[2]) > 2 * float(spectrum(slow)[-1])


@pytest.fixture(scope="module")
def good():
    denoise, x = wiener(0), field(0)
    y = x + SIGMA * torch.randn(x.shape, generator=generator(7))
    return denoise, x, y


def test_risk_and_coverage_are_estimated_without_the_truth(good):
    denoise, x, y = good
    facts, calibration = judge(Known(denoise), [y])
    made = denoise(y[None], None)[0]
    assert facts.sigma == pytest.approx(SIGMA, rel=0.05)
    off = (facts.sigma / SIGMA) ** 2 - 1  # an error of the level enters the estimate of the risk
    true_risk = float((made - x).square().mean()) / SIGMA**2
    assert facts.risk["prior"] == pytest.approx(true_risk - off, abs=0.02)
    assert facts.risk["identity"] == pytest.approx(1, abs=0.02)
    median = local_median(y[None])[0]
    median_risk = float((median - x).square().mean()) / SIGMA**2
    assert facts.risk["local median"] == pytest.approx(median_risk - off, abs=0.03)
    assert calibration is not None and facts.covered == pytest.approx(0.9, abs=0.03)
    half = calibration.scales["all"] * calibration.band(made[None], y[None], torch.tensor([facts.sigma]))[0]
    true = float(((made - x).abs() <= half).float().mean())
    assert true == pytest.approx(0.9, abs=0.06)
    assert facts.covered_noisy == pytest.approx(0.9, abs=0.05)


def failures():
    """What a training may become, by name: denoiser, words of the verdict."""
    best = wiener(0)
    return {
        "too smooth": (lambda y, s: smoothed(best(y, s), 2.5), "too smooth"),
        "far too smooth": (lambda y, s: smoothed(best(y, s), 5), "too smooth"),
        "one value": (lambda y, s: 0 * y + y.mean(), "times that of"),
        "too short": (lambda y, s: 0.7 * y + 0.3 * best(y, s), "keeps much of the noise"),
        "nothing learned": (lambda y, s: y, "keeps much of the noise"),
        "half of the noise stays": (lambda y, s: 0.4 * y + 0.6 * best(y, s), "do not support|keeps much|times that"),
        "sharpened": (lambda y, s: 2 * best(y, s) - smoothed(best(y, s), 2.5), "do not support"),
        "invented lines": (
            lambda y, s: best(y, s) + 0.08 * torch.sin(torch.arange(SIDE) / 1.0),
            "do not support|times",
        ),
        "darker": (lambda y, s: 0.8 * best(y, s), "times that of"),
    }


@pytest.mark.parametrize("name", failures())
def test_planted_failures_are_found(good, name):
    import re

    denoise, words = failures()[name]
    judged = verdict(judge(Known(denoise), [good[2]])[0], Known(denoise).noise)
    assert not judged.works and re.search(words, judged.words), judged.words


def test_noise_that_neighbours_share_is_found_where_training_took_it_for_white(good):
    denoise, x, _ = good
    noise = smoothed(torch.randn(x.shape, generator=generator(3)), 0.7)
    y = x + SIGMA * noise / noise.std()
    judged = verdict(judge(Known(denoise), [y])[0], Known(denoise).noise)
    assert not judged.works and "correlated" in judged.words


def test_good_runs_raise_no_alarm():
    denoise = wiener(0)
    said = []
    for seed in range(3):
        x = field(seed)
        y = x + SIGMA * torch.randn(x.shape, generator=generator(100 + seed))
        said.append(verdict(judge(Known(denoise), [y])[0], Known(denoise).noise))
    assert sum(not one.works for one in said) == 0, [one.words for one in said if not one.works]


def test_a_level_that_is_too_high_is_said(good):
    from dataclasses import replace

    facts = judge(Known(good[0]), [good[2]])[0]
    low = replace(facts, hidden=facts.hidden | {"prior": 0.7})
    assert "level was estimated too high" in verdict(low, Known(good[0]).noise).words


def test_normal_coverage_is_that_of_the_normal_distribution():
    assert _normal_coverage(1.0) == pytest.approx(0.9, abs=1e-4)
    assert _normal_coverage(4.0) == pytest.approx(0.5892, abs=1e-3)


def test_baselines_take_every_rank():
    for rank in (1, 2, 3):
        y = torch.rand(2, 1, *[16] * rank, generator=generator(rank))
        for name, denoise in baselines(rank).items():
            assert denoise(y, 0.1).shape == y.shape, name
    assert torch.equal(local_median(functional.pad(torch.ones(1, 1, 1, 1), (4,) * 4)), torch.zeros(1, 1, 9, 9))


def test_the_command_reports_on_training_and_on_what_was_denoised(cli, tmp_path):
    import numpy as np
    import tifffile
    import yaml

    y = 1000 + 2000 * (field(1)[0] + SIGMA * torch.randn(SIDE, SIDE, generator=generator(5)))
    (tmp_path / "cells").mkdir()
    tifffile.imwrite(tmp_path / "cells" / "a.tif", y.round().numpy().astype(np.uint16))
    prior = {"clean": False, "widths": [8, 12], "depths": [1, 1]}
    content = {"name": "own", "data": "cells", "prior": prior, "stage": {"steps": 4, "batch": 2}, "crop": 32}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    code, out, err = cli("train", "own.yaml", "-o", "run", "--device", "cpu")
    assert code == 0 and "it did not work: " in out and "report.html" in out, err
    found = json.loads((tmp_path / "run" / "report.json").read_text())
    assert found["works"] is False and found["noise_model"]["method"] == "recorrupted"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Did it work?" in page and "It did not work" in page and "http" not in page.replace("http-equiv", "")
    code, out, err = cli("denoise", "cells/a.tif", "--model", "run", "-o", "b.tif", "--report", "page")
    assert code == 0 and "it did not work" in err, err
    assert (tmp_path / "page" / "noise.html").is_file() and (tmp_path / "page" / "index.html").is_file()
