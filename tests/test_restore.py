"""Restoration against posteriors that are known in closed form, and what it promises of calls, batches and mistakes."""

import numpy as np
import pytest
import torch
from rounding import NETWORK
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.operators import (
    JPEG,
    BandLimit,
    Blur,
    Denoise,
    Downsample,
    LowDose,
    Mask,
    Rician,
    SaltPepper,
    STFTMask,
    gaussian_kernel,
    random_elements,
    random_operator,
)
from vqfusion.diffusion.operators.stft_mask import frames
from vqfusion.diffusion.posterior.gradient import dps
from vqfusion.diffusion.posterior.null_space import ddnm, ddrm
from vqfusion.diffusion.posterior.proximal import diffpir, plug_and_play
from vqfusion.diffusion.posterior.question import (
    CountedPrior,
    Question,
    RestorationPrior,
    ancestral,
    gaussian_prior,
    noise_levels,
    share_of_noise,
)
from vqfusion.errors import UserError
from vqfusion.models.restoration.intervals import Calibration
from vqfusion.models.restoration.mirrored import MirroredPrior
from vqfusion.models.restoration.restoring import restore


class GaussianPrior:
    """x_0 ~ N(mean, covariance) over the elements of `[1, n]` or `[1, h, w]`; its denoiser is linear."""

    def __init__(self, mean: Tensor, covariance: Tensor, highest: float = 10.0):
        self.mean, self.covariance, self.highest = mean, covariance, highest
        self.calls = 0

    @property
    def sigma_range(self) -> tuple[float, float]:
        return 1e-3, self.highest

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        self.calls += 1
        levels = torch.as_tensor(sigma, dtype=x.dtype).expand(len(x))
        eye = torch.eye(len(self.mean), dtype=x.dtype)
        made = [
            self.mean + torch.linalg.solve(self.covariance + level**2 * eye, self.covariance).T @ (row - self.mean)
            for row, level in zip(x.flatten(1), levels, strict=True)
        ]
        return torch.stack(made).reshape(x.shape)


class SmoothPictures:
    """Independent elements N(1/2, 0.2^2): cheap, and of any shape."""

    sigma_range = (0.002, 1.0)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        levels = torch.as_tensor(sigma, dtype=x.dtype).expand(len(x)).reshape(-1, *[1] * (x.ndim - 1))
        return 0.5 + 0.04 / (0.04 + levels**2) * (x - 0.5)


def dense(operator, shape):
    """The matrix of a linear operator."""
    eye = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
    return operator.A(eye).flatten(1).T


def posterior(prior, operator, y, sigma, shape):
    """Mean and covariance of x given y."""
    matrix, precision = dense(operator, shape), torch.linalg.inv(prior.covariance)
    covariance = torch.linalg.inv(precision + matrix.T @ matrix / sigma**2)
    return prior.mean + covariance @ matrix.T @ (y.flatten() - matrix @ prior.mean) / sigma**2, covariance


SHAPE = (1, 12)
WHITE = GaussianPrior(torch.linspace(-1, 1, 12).double(), 0.64 * torch.eye(12).double())
DISTANCE = (torch.arange(12)[:, None] - torch.arange(12)).abs()
SMOOTH = GaussianPrior(torch.zeros(12).double(), 0.8 ** DISTANCE.double())
LINEAR = {
    "denoise": Denoise(0.3),
    "downsample": Downsample(3, "area", 0.3),
    "mask": Mask(torch.tensor([1, 0, 0, 1, 1, 0] * 2) > 0, 0.3),
    "blur": Blur(gaussian_kernel(0.8, 1), 0.3),
    "band_limit": BandLimit(0.5, 0.3),
    "stft_mask": STFTMask(
        torch.rand(5, frames(12, 8, 2), generator=torch.Generator().manual_seed(0)) < 0.6, 12, 8, 2, 0.3
    ),
}


class ManyChannels:
    """A Gaussian prior of `[1, n]` on `[1, count, n]`: each channel is a sample, so that one draw makes all."""

    def __init__(self, prior):
        self.prior, self.sigma_range = prior, prior.sigma_range

    def denoise(self, x, sigma):
        cov, eye = self.prior.covariance, torch.eye(12, dtype=x.dtype)
        gain = cov @ torch.linalg.inv(cov + float(sigma) ** 2 * eye)
        return self.prior.mean + (x - self.prior.mean) @ gain.T


def drawn(method, operator, prior, steps, y=None, sigma=0.3, count=4000, **settings):
    """Samples `[count, 12]` of one posterior from noise of level 10, and the posterior in closed form."""
    truth = prior.mean + torch.linalg.cholesky(prior.covariance) @ normal(12, seed=5)
    y = operator.measure(truth.reshape(1, *SHAPE), seeded(6, 1)) if y is None else y
    wide = y.expand(1, count, *y.shape[2:])
    question = Question(CountedPrior(ManyChannels(prior)), operator, wide, torch.full((1, 1, 1), sigma).double())
    levels = noise_levels(torch.tensor([10.0]).double(), torch.tensor([1e-2]).double(), steps)
    start = prior.mean + 10 * normal(1, count, 12, seed=7)
    made = method(question, start, levels, seeded(8, 1), **settings)[0]
    return made, posterior(prior, operator, y, sigma, SHAPE) if sigma else (None, None)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("method", [diffpir, dps])
@pytest.mark.parametrize("name", [name for name in LINEAR if name != "stft_mask"])  # slow: no closed form
def test_samplers_draw_the_linear_gaussian_posterior(method, name):
    """Independent prior: mean within 0.15 of a deviation and variances within 15 % at 150 steps."""
    made, (mean, covariance) = drawn(method, LINEAR[name], WHITE, 150, variance=gaussian_prior(0.8), eta=1.0)
    deviation = covariance.diagonal().sqrt()
    assert float(((made.mean(0) - mean) / deviation).abs().max()) < 0.15
    assert float((torch.cov(made.T) - covariance).norm() / covariance.norm()) < 0.15


@pytest.mark.parametrize("method, limit", [(diffpir, 0.5), (dps, 0.25)])
def test_samplers_with_a_correlated_prior(method, limit):
    """What is taken for the covariance of x_0 given x_t is then wrong, and the mean is off by part of a deviation."""
    made, (mean, covariance) = drawn(method, LINEAR["blur"], SMOOTH, 100, variance=gaussian_prior(1.0), eta=1.0)
    assert float(((made.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max()) < limit
    assert float((torch.cov(made.T) - covariance).norm() / covariance.norm()) < 0.25


@pytest.mark.parametrize("method", [ddnm, ddrm, diffpir, dps])
def test_without_noise_every_sampler_explains_the_measurement(method):
    """A x = y exactly where the noise is 0, and the null space is drawn from the prior (DDRM narrower: eq. 8)."""
    operator = Downsample(3, "area")
    y = torch.tensor([[[0.5, -0.2, 0.3, 0.9]]]).double()
    options = {} if method in (ddnm, ddrm) else {"variance": gaussian_prior(0.8)}
    made, _ = drawn(method, operator, WHITE, 150, y, 0.0, **options)
    torch.testing.assert_close(operator.A(made[None]), y.expand(1, len(made), 4), atol=0.02, rtol=0)
    matrix = dense(operator, SHAPE)
    free = torch.eye(12).double() - matrix.T @ torch.linalg.inv(matrix @ matrix.T) @ matrix
    expected = 0.64 * free
    assert float((torch.cov(made.T) - expected).norm() / expected.norm()) < (0.6 if method is ddrm else 0.2)
    centre = free @ WHITE.mean + matrix.T @ torch.linalg.inv(matrix @ matrix.T) @ y.flatten()
    assert float((made.mean(0) - centre).abs().max()) < (0.3 if method is ddrm else 0.1)


@pytest.mark.parametrize("method", [ddnm, ddrm])
def test_null_space_methods_with_noise(method):
    """Approximations: within half a deviation of the mean where the singular values are near one another."""
    made, (mean, covariance) = drawn(method, LINEAR["downsample"], WHITE, 50)
    assert float(((made.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max()) < 0.5
    ratio = torch.cov(made.T).diagonal() / covariance.diagonal()
    assert 0.4 < float(ratio.min()) and float(ratio.max()) < 1.2


def test_denoising_chain_is_exact_for_any_gaussian():
    y = torch.linspace(-1, 1, 12).double().reshape(1, *SHAPE)
    levels = noise_levels(torch.tensor([0.5]).double(), torch.tensor([5e-3]).double(), 100)
    made = ancestral(CountedPrior(ManyChannels(SMOOTH)), y.expand(1, 4000, 12), levels, seeded(0, 1))[0]
    mean, covariance = posterior(SMOOTH, Denoise(0.5), y, 0.5, SHAPE)
    assert float(((made.mean(0) - mean) / covariance.diagonal().sqrt()).abs().max()) < 0.1
    assert float((torch.cov(made.T) - covariance).norm() / covariance.norm()) < 0.15


@pytest.mark.parametrize("name", LINEAR)
def test_mean_of_a_gaussian(name):
    """Denoising in one call is the posterior mean; plug-and-play ends within 3 % of it where its levels fall slowly."""
    operator = LINEAR[name]
    y = operator.measure(torch.sin(torch.arange(12).double()).reshape(1, *SHAPE), seeded(1, 1))
    mean, _ = posterior(SMOOTH, operator, y, 0.3, SHAPE)
    if name == "denoise":
        made = restore(SMOOTH, y, operator)
        assert made.nfe == 1
        torch.testing.assert_close(made.mean.flatten(), mean)
        return
    question = Question(CountedPrior(SMOOTH), operator, y, torch.full((1, 1, 1), 0.3).double())
    levels = noise_levels(torch.ones(1).double(), torch.full((1,), 0.02).double(), 400, rho=100.0)
    made = plug_and_play(question, operator.first_guess(y), levels, share_of_noise()).flatten()
    assert float((made - mean).norm() / mean.norm()) < 0.03


@pytest.mark.parametrize("method", ["auto", "ddnm", "ddrm", "diffpir", "dps"])
def test_the_denoiser_is_called_once_a_step(method):
    operator = Downsample(3, "area", 0.1)
    prior = GaussianPrior(SMOOTH.mean, SMOOTH.covariance)
    y = operator.A(torch.ones(2, *SHAPE).double())
    made = restore(prior, y, operator, "sample", samples=3, steps=7, method=method)
    assert made.nfe == 21 and prior.calls == 21 and made.samples.shape == (2, 3, *SHAPE)
    prior.calls = 0
    assert restore(prior, y, operator, steps=5).nfe == 5 and prior.calls == 5
    prior.calls = 0
    assert restore(prior, y[:1], operator, "sample", samples=3, steps=7).nfe == 21 and prior.calls == 7  # together


class Slanted:
    """A prior that treats no two directions alike."""

    sigma_range = (1e-3, 1.0)

    def denoise(self, x, sigma):
        level = torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, *[1] * (x.ndim - 1))
        return (x + level * x.roll((1, 2), (2, 3))) / (1 + level)


@pytest.mark.parametrize(
    "operator, mode, calls", [(Denoise(0.2), "mean", 8), (Downsample(2), "mean", 24), (Denoise(0.2), "sample", 48)]
)
def test_self_ensemble_asks_about_mirrored_copies_at_every_step(operator, mode, calls):
    y = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    settings = dict(mode=mode, samples=2, steps=None if operator.kind == "denoise" and mode == "mean" else 3)
    made = restore(Slanted(), y, operator, self_ensemble=True, **settings)
    assert made.nfe == calls
    assert torch.equal(made.mean, restore(MirroredPrior(Slanted()), y, operator, **settings).mean)
    assert not torch.allclose(made.mean, restore(Slanted(), y, operator, **settings).mean, atol=1e-3)
    if mode == "mean":
        turned = restore(Slanted(), y.mT, operator, self_ensemble=True, **settings).mean
        assert torch.allclose(turned, made.mean.mT, atol=NETWORK)


@pytest.mark.parametrize("kind", ["denoise", "low_dose", "downsample", "mask", "blur", "band_limit", "jpeg"])
def test_an_item_does_not_depend_on_its_batch(kind):
    operator = random_operator(kind, (1, 16, 16), torch.Generator().manual_seed(3))
    x = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    y = operator.measure(x, seeded(0, 8))
    for mode in ("mean", "sample"):
        settings = dict(mode=mode, samples=2, steps=4)
        if not operator.noise.kind == "salt_pepper":  # its mask belongs to the batch
            whole = restore(SmoothPictures(), y, operator, generator=seeded(5, 8), **settings)
            one = restore(SmoothPictures(), y[3:4], operator, generator=seeded(8, 1), **settings)
            torch.testing.assert_close(whole.mean[3:4], one.mean, atol=NETWORK, rtol=NETWORK)
    assert isinstance(SmoothPictures(), RestorationPrior)


@pytest.mark.parametrize("shape", [(1, 64), (1, 16, 16), (1, 8, 8, 8)])
def test_every_operator_at_every_rank(shape):
    from vqfusion.diffusion.operators import OPERATORS

    x = 0.5 + 0.2 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)).clamp(-2, 2)
    for kind, made in OPERATORS.items():
        if len(shape) - 1 in made.ranks:
            operator = random_operator(kind, shape, torch.Generator().manual_seed(2))
            y = operator.measure(x, seeded(0, 2))
            for mode in ("mean", "sample", "interval"):
                found = restore(SmoothPictures(), y, operator, mode, samples=2, steps=3)
                assert found.mean.shape == x.shape and bool(torch.isfinite(found.mean).all())


@pytest.mark.parametrize("mode", ["mean", "sample", "interval"])
@pytest.mark.parametrize("shape", [(1, 64), (3, 16, 16), (1, 8, 8, 8)])
def test_no_noise_is_the_identity(shape, mode):
    y = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    made = restore(SmoothPictures(), y, Denoise(0.0), mode, samples=2)
    parts = [part for part in (made.mean, made.lower, made.upper) if part is not None]
    parts += [] if made.samples is None else list(made.samples.movedim(1, 0))
    assert len(parts) == {"mean": 1, "sample": 3, "interval": 5}[mode] and made.nfe == 0
    assert all(torch.equal(part, y) for part in parts)
    if len(shape) == 3:
        one = restore(SmoothPictures(), y, Denoise(torch.tensor([0.0, 0.1])), mode, samples=2)
        assert torch.equal(one.mean[0], y[0]) and bool(torch.isfinite(one.mean).all())
        assert not torch.equal(one.mean[1], y[1])


def test_without_noise_there_is_no_residual_to_doubt():
    calibration = Calibration(0.9, {"all": 1.0}, {"all": 9}, {"sigma": (0.02, 0.2), "brightness": (0.0, 1.0)})
    assert calibration.warnings({"brightness": 0.5}) == ()
    assert "sigma is 0.9" in calibration.warnings({"brightness": 0.5, "sigma": 0.9})[0]


class Flat:
    """Constant signals of any brightness."""

    sigma_range = (0.002, 1.0)

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True).expand_as(x).clone()


@pytest.mark.parametrize("operator", [LowDose(30), Denoise(noise=Rician(0.15)), Denoise(noise=Rician(0.4))])
def test_noise_that_follows_the_signal_leaves_no_bias(operator):
    for brightness in (0.3, 0.7):
        y = operator.measure(torch.full((1, 1, 300, 300), brightness), seeded(2, 1))
        assert float(restore(Flat(), y, operator).mean.mean()) == pytest.approx(brightness, abs=0.01)


def test_salt_and_pepper_are_filled_in():
    x = 0.5 + 0.2 * torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(1)).clamp(-2, 2)
    operator = Denoise(noise=SaltPepper(0.3))
    y = operator.measure(x, seeded(2, 1))
    made, seen = restore(SmoothPictures(), y, operator).mean, SaltPepper(0.3).seen(y)
    torch.testing.assert_close(made[seen], x[seen])
    assert float((made - x).square().mean()) < 0.3 * float((y - x).square().mean())


def test_sigma_may_be_a_map():
    x = torch.full((1, 1, 16, 16), 0.7)
    sigma = torch.full((1, 1, 16, 16), 0.3)
    sigma[..., 8:] = 0.0
    y = x + sigma * torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    made = restore(SmoothPictures(), y, Denoise(sigma)).mean
    torch.testing.assert_close(made[..., 8:], y[..., 8:])
    assert float((made - x)[..., :8].square().mean()) < float((y - x)[..., :8].square().mean())
    with pytest.raises(ValueError, match="one sigma for each item"):
        restore(SmoothPictures(), y, Denoise(sigma), "sample", method="ddrm")


@pytest.mark.parametrize("name", ["camera", "moon", "chelsea", "clock"])
@pytest.mark.parametrize("sigma", [5, 15, 50])
def test_noise_level_of_photographs(name, sigma):
    """Within 5 % for photographs that have next to no noise of their own."""
    from skimage import data

    picture = torch.from_numpy(np.array(getattr(data, name)())).float()[:300, :300] / 255
    picture = picture[None] if picture.ndim == 2 else picture.permute(2, 0, 1)
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(sigma))
    estimate = estimate_noise((picture + sigma / 255 * noise)[None])
    assert float(estimate) * 255 == pytest.approx(sigma, rel=0.05)


def test_noise_level_at_other_ranks():
    t = torch.linspace(0, 60, 20_000)
    wave = (torch.sin(t) * torch.sin(7 * t))[None]
    grid = torch.linspace(0, 6, 40)
    solid = (torch.sin(grid)[:, None, None] * torch.cos(grid)[:, None] * grid)[None]
    for signal in (wave, solid):
        noisy = signal + 0.1 * torch.randn(signal.shape, generator=torch.Generator().manual_seed(0))
        assert float(estimate_noise(noisy[None])) == pytest.approx(0.1, rel=0.05)
    made = restore(SmoothPictures(), noisy[None])
    assert float(made.sigma) == pytest.approx(0.1, rel=0.05) and made.nfe == 1


PICTURE = torch.full((1, 1, 16, 16), 0.5)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(mode="median"), "mode"),
        (dict(method="magic"), "method"),
        (dict(y=PICTURE[0, 0]), "missing axes"),
        (dict(y=PICTURE / 0 * 0), "NaN or infinity"),
        (dict(y=(255 * PICTURE).byte()), "floating point, not torch.uint8"),
        (dict(y=PICTURE + 0j), "floating point, not torch.complex64"),
        (dict(mode="sample", samples=0), "samples must"),
        (dict(mode="interval", samples=1), "samples must"),
        (dict(steps=0), "steps must"),
        (dict(coverage=1.0), "coverage must"),
        (
            dict(mode="interval", calibration=Calibration(0.9, {"all": 1.0}, {}), self_ensemble=True),
            "leave one of them",
        ),
        (dict(mode="sample", generator=seeded(0, 2)), "2 generators for 1 signals"),
        (dict(operator=Mask(torch.ones(8, 8, dtype=torch.bool))), "same size"),
        (dict(operator=Mask(torch.ones(16, 16, dtype=torch.bool), None)), "give sigma"),
        (dict(operator=JPEG(50), mode="sample", method="ddnm"), "linear"),
        (dict(operator=Denoise(), y=PICTURE[..., :8, :8]), "give sigma"),
        (dict(operator=STFTMask(torch.ones(5, frames(16, 8, 2), dtype=torch.bool), 16, 8, 2)), "spectrogram"),
    ],
)
def test_mistakes_are_one_line(change, words):
    options = {"y": PICTURE, "operator": Denoise(0.1)} | change
    with pytest.raises(UserError, match=words) as caught:
        restore(SmoothPictures(), options.pop("y"), **options)
    assert "\n" not in str(caught.value)


def test_a_level_beyond_the_prior_is_said():
    made = restore(SmoothPictures(), PICTURE, Denoise(2.0))
    assert "beyond what the prior" in made.warnings[0]
    assert random_elements((4,), 1.0, torch.Generator().manual_seed(0)).sum() == 1


@pytest.mark.parametrize("quality", [5, 20, 60])
def test_the_mean_behind_a_jpeg_explains_it(quality):
    """Every coefficient of the estimate rounds to that of the file, and a smooth scene comes nearer than the file."""
    x = torch.linspace(0.2, 0.8, 48).expand(1, 1, 40, 48) + 0.1 * torch.linspace(0, 3, 40).sin()[:, None]
    operator = JPEG(quality)
    y = operator.A(x)
    made = restore(SmoothPictures(), y, operator)
    torch.testing.assert_close(operator.proximal(made.mean, y, 0.0), made.mean, atol=1e-4, rtol=0)
    assert made.nfe == 2 and JPEG(5).level > JPEG(20).level > JPEG(60).level > 0
