"""Noise models: they draw noise and, where it is not Gaussian, transform it to Gaussian noise of a known level.

Levels are in the units of the sample: 25/255 for "sigma 25" of pictures in [0, 1]. Nothing is clipped.
"""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.diffusion.noise import Generators, draw_noise
from vqfusion.errors import UserError

TABLE = 1024  # points of a tabulated transform
QUADRATURE = 32  # nodes of Gauss-Hermite quadrature along one axis


class Noise(ABC):
    """Noise of a measurement; `sigma` is the standard deviation of its Gaussian part in sample units."""

    kind: ClassVar[str]
    sigma: float | Tensor | None

    @abstractmethod
    def add(self, clean: Float[Tensor, "B ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        """Noisy measurement, not clipped, with one generator for each item."""


class StabilisedNoise(Noise):
    """Noise whose variance depends on the signal, with a transform to nearly Gaussian noise of constant variance.

    The transform maps the signals 0 and 1 to 0 and 1, so that a prior of signals in [0, 1] can be used after it;
    `level` is the standard deviation after it.
    """

    level: float

    @abstractmethod
    def forward(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Transform measurements."""

    @abstractmethod
    def backward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Signal of an estimate of E[forward(y)]: the exact unbiased inverse."""


class GaussianNoise(Noise):
    """Gaussian noise: y = x + sigma n; `sigma` None is unknown and to be estimated."""

    kind: ClassVar[str] = "gaussian"

    def __init__(self, sigma: float | Tensor | None = None):
        self.sigma = checked_level(sigma, "sigma")

    def add(self, clean: Float[Tensor, "B ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        if self.sigma is None:
            raise UserError("noise of unknown sigma cannot be drawn: give sigma, such as 25/255")
        noise = draw_noise(clean.shape[1:], generators, clean.dtype, clean.device)
        return clean + broadcast_level(self.sigma, clean) * noise


class PoissonGaussian(StabilisedNoise):
    """Photon and read-out noise: y = gain Poisson(x / gain) + sigma n, with variance gain x + sigma^2.

    Stabilised by the generalised Anscombe transform; inverse by the closed form of its exact unbiased inverse:
    Mäkitalo, Foi (2013), eq. 8 and 15.
    """

    kind: ClassVar[str] = "poisson_gaussian"

    def __init__(self, gain: float, sigma: float = 0.0):
        if not (gain > 0 and math.isfinite(gain)):
            raise UserError(f"gain must be a finite number > 0 (the signal that one photon makes), not {gain}")
        checked_level(sigma, "sigma")
        self.gain, self.sigma = gain, sigma
        self._spread = float(sigma) / gain  # standard deviation of the read-out noise, in photons
        self._low, self._high = (self._mean_root(torch.tensor(x / gain, dtype=torch.float64)) for x in (0.0, 1.0))
        self.level = 1 / (self._high - self._low)

    def add(self, clean: Float[Tensor, "B ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        rates = (clean / self.gain).clamp(min=0)
        counts = torch.stack([torch.poisson(rate, g) for rate, g in zip(rates, generators, strict=True)])
        noise = draw_noise(clean.shape[1:], generators, clean.dtype, clean.device)
        return self.gain * counts + float(self.sigma or 0.0) * noise

    def forward(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        root = 2 * (y / self.gain + 3 / 8 + self._spread**2).clamp(min=0).sqrt()
        return (root - self._low) * self.level

    def backward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        root = u / self.level + self._low
        least = 2 * math.sqrt(3 / 8 + self._spread**2)
        safe, half = root.clamp(min=least), math.sqrt(1.5)
        counts = safe**2 / 4 + half / (4 * safe) - 11 / (8 * safe**2) + 5 * half / (8 * safe**3) - 1 / 8
        return self.gain * (counts - self._spread**2).clamp(min=0)

    def _mean_root(self, photons: Tensor) -> float:
        """Approximation of E[2 sqrt(count + 3/8 + spread^2)], the mean of the transform for this signal."""
        return float(2 * (photons + 3 / 8 + self._spread**2).sqrt())


class Rician(StabilisedNoise):
    """Rician noise of magnetic resonance magnitudes: y = |x + sigma (n_1 + i n_2)|, biased upwards where x is small.

    The transform integrates 1 / std of y over its mean, and its unbiased inverse is tabulated, after Foi (2011).
    """

    kind: ClassVar[str] = "rician"

    def __init__(self, sigma: float):
        checked_level(sigma, "sigma")
        if sigma == 0:
            raise UserError("Rician noise needs sigma > 0")
        self.sigma = sigma
        signal = torch.linspace(0, max(2.0, 1 + 8 * sigma), TABLE, dtype=torch.float64) / sigma
        mean, std = rician_moments(signal)
        steps = torch.diff(mean) * 2 / (std[1:] + std[:-1])
        self._signal, self._mean = signal * sigma, mean * sigma
        self._root = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
        self._slope = float(1 / std[0])
        self.level, self._low = 1.0, 0.0  # preliminary, before the transform is scaled
        self._expected = self._expectation()
        low, high = (float(interpolate(torch.tensor([x]).double(), self._signal, self._expected)) for x in (0.0, 1.0))
        self._low, self.level = low, 1 / (high - low)
        self._expected = (self._expected - low) * self.level

    def add(self, clean: Float[Tensor, "B ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        assert self.sigma is not None
        real, imaginary = (draw_noise(clean.shape[1:], generators, clean.dtype, clean.device) for _ in range(2))
        return torch.hypot(clean + self.sigma * real, self.sigma * imaginary)

    def forward(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        assert self.sigma is not None
        below = (y - float(self._mean[0])) / self.sigma * self._slope  # below the mean for x = 0
        root = torch.where(below < 0, below, interpolate(y, self._mean, self._root))
        return (root - self._low) * self.level

    def backward(self, u: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return interpolate(u, self._expected, self._signal)

    def _expectation(self) -> Float[Tensor, " N"]:
        """E[forward(y)] of each tabulated signal, by Gauss-Hermite quadrature over both parts of the noise."""
        import numpy as np

        assert self.sigma is not None
        nodes, weights = (torch.from_numpy(part) for part in np.polynomial.hermite_e.hermegauss(QUADRATURE))
        weights = weights / weights.sum()
        real = self._signal[:, None, None] + self.sigma * nodes[:, None]
        root = self.forward(torch.hypot(real, self.sigma * nodes))
        return torch.einsum("nij,i,j->n", root, weights, weights)


class SaltPepper(Noise):
    """Impulse noise: a fraction `share` of the elements is replaced by 0 or 1 with equal probability.

    Elements at or beyond 0 or 1 count as replaced, and restoration fills them in from the others, whose `sigma` is 0.
    """

    kind: ClassVar[str] = "salt_pepper"

    def __init__(self, share: float = 0.1):
        if not 0 < share < 1:
            raise UserError(f"the share of salt and pepper must lie between 0 and 1, not {share}")
        self.share, self.sigma = share, 0.0

    def add(self, clean: Float[Tensor, "B ..."], generators: Generators) -> Float[Tensor, "B ..."]:
        draws = torch.stack([torch.rand(clean.shape[1:], generator=g, dtype=clean.dtype) for g in generators])
        draws = draws.to(clean.device)
        extreme = (draws < self.share / 2).to(clean.dtype)
        return torch.where(draws < self.share, extreme, clean)

    def seen(self, y: Float[Tensor, "..."]) -> Bool[Tensor, "..."]:
        """True for elements that were not replaced."""
        return (y > 0) & (y < 1)


def rician_moments(signal: Float[Tensor, " N"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Mean and standard deviation of |x + n_1 + i n_2|: sqrt(pi / 2) L_1/2(-x^2 / 2); Rice (1944)."""
    a = signal**2 / 2
    mean = math.sqrt(math.pi / 2) * ((1 + a) * torch.special.i0e(a / 2) + a * torch.special.i1e(a / 2))
    # the difference of squares cancels for large x, where the standard deviation is 1 - 1 / (4 x^2)
    std = (2 + signal**2 - mean**2).clamp(min=1e-12).sqrt()
    return mean, torch.where(signal > 100, 1 - 1 / (4 * signal.clamp(min=1) ** 2), std)


def interpolate(
    x: Float[Tensor, "..."], knots: Float[Tensor, " N"], values: Float[Tensor, " N"]
) -> Float[Tensor, "..."]:
    """Piecewise linear interpolation between increasing knots, constant below the first and linear beyond the last."""
    knots, values = knots.to(x), values.to(x)
    right = torch.searchsorted(knots, x.contiguous()).clamp(1, len(knots) - 1)
    share = ((x - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(min=0)
    return values[right - 1] + share * (values[right] - values[right - 1])


def checked_level(level: float | Tensor | None, name: str) -> float | Tensor | None:
    """Return a noise level; UserError where it is negative or not finite."""
    if level is None:
        return None
    ends = (float(level.min()), float(level.max())) if isinstance(level, Tensor) else (float(level), float(level))
    for end in ends:
        if not (end >= 0 and math.isfinite(end)):
            raise UserError(f"{name} must be a finite number >= 0 in the units of the sample, not {end:g}")
    return level


def broadcast_level(level: float | Tensor, like: Tensor) -> Tensor:
    """Noise level (one number, one for each item, or a map) as a tensor that broadcasts against `like` `[B, ...]`."""
    level = level.to(like) if isinstance(level, Tensor) else like.new_tensor(level)
    return level.reshape(-1, *[1] * (like.ndim - 1)) if level.ndim == 1 else level
