"""Restoration against posteriors that are known in closed form, and what it promises of calls, batches and mistakes."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.noise_level import estimate_noise
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
from vqfusion.diffusion.posterior import (
    CountedPrior,
    Question,
    RestorationPrior,
    ancestral,
    gaussian_prior,
    noise_levels,
    share_of_noise,
)
from vqfusion.diffusion.posterior_gradient import dps
from vqfusion.diffusion.posterior_null_space import ddnm, ddrm
from vqfusion.diffusion.posterior_proximal import diffpir, plug_and_play
from vqfusion.errors import UserError
from vqfusion.models.restore import restore


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
SMOOTH = GaussianPrior(torch.zeros(12).double(), 0.8**DISTANCE.double())
LINEAR = {
    "denoise": Denoise(0.3),
    "downsample": Downsample(3, "area", 0.3),
    "mask": Mask(torch.tensor([1, 0, 0, 1, 1, 0] * 2) > 0, 0.3),
    "blur": Blur(gaussian_kernel(0.8, 1), 0.3),
    "band_limit": BandLimit(0.5, 0.3),
    "stft_mask": STFTMask(torch.rand(5, frames(12, 8, 2), generator=torch.Generator().manual_seed(0)) < 0.6, 12, 8, 2, 0.3),
}


def drawn(method, operator, prior, steps, count=4000, **settings):
    """Samples of one posterior, the measurement, and the closed form."""
    truth = prior.mean + torch.linalg.cholesky(prior.covariance) @ torch.randn(
        12, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    y = operator.measure(truth.reshape(1, *SHAPE), seeded(6, 1))
    many = [torch.Generator().manual_seed(7)]  # one generator draws all, as noise of one wide item
    wide = y.expand(count, *y.shape[1:])
    question = Question(CountedPrior(_Together(prior)), operator, wide, torch.full((1, 1, 1), 0.3).double())
    levels = noise_levels(torch.full((count,), 10.0).double(), torch.full((count,), 1e-2).double(), steps)
    generators = _Shared(many[0], count)
    start = prior.mean.reshape(SHAPE) + 10 * torch.randn(count, *SHAPE, generator=many[0], dtype=torch.float64)
    made = method(question, start, levels, generators, **settings).flatten(1)
    return made, posterior(prior, operator, y, 0.3, SHAPE)


class _Together:
    """A Gaussian prior for batches of one level."""

    def __init__(self, prior):
        self.prior, self.sigma_range = prior, prior.sigma_range

    def denoise(self, x, sigma):
        cov, eye = self.prior.covariance, torch.eye(12, dtype=x.dtype)
        gain = cov @ torch.linalg.inv(cov + float(sigma.flatten()[0]) ** 2 * eye)
        return (self.prior.mean + (x.flatten(1) - self.prior.mean) @ gain.T).reshape(x.shape)


class _Shared(list):
    """The same generator for each of many items."""

    def __init__(self, generator, count):
        super().__init__([generator] * count)
