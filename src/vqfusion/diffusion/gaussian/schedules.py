"""Noise schedules: the coefficients alpha(t) of the data and sigma(t) of the noise in x_t = alpha x_0 + sigma eps.

Time runs from 0 (data) to 1 (noise). Each schedule has both coefficients, their derivatives in closed form and the
inverse of sigma / alpha. Variance-preserving schedules keep alpha^2 + sigma^2 = 1 and stop where the log-SNR reaches
`LOG_SNR_MAX` at the data end (and minus that at the noise end, unless stated otherwise), so that neither end divides by
zero.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LOG_SNR_MAX = 15.0  # sigma(0) = 5.5e-4, well below one 8-bit grey level

Times = Float[Tensor, "..."]


class Schedule(ABC):
    """alpha and sigma as functions of time; all methods work element by element and keep the dtype of `t`."""

    @abstractmethod
    def alpha(self, t: Times) -> Times:
        """Factor of the data."""

    @abstractmethod
    def sigma(self, t: Times) -> Times:
        """Standard deviation of the noise."""

    @abstractmethod
    def d_alpha(self, t: Times) -> Times:
        """Derivative of alpha with respect to t."""

    @abstractmethod
    def d_sigma(self, t: Times) -> Times:
        """Derivative of sigma with respect to t."""

    @abstractmethod
    def time_of_noise(self, ratio: Times) -> Times:
        """Time at which sigma / alpha has this value, not clipped to [0, 1]."""

    def clock(self, t: Times) -> Times:
        """Variable in which Euler's and Heun's methods take their steps: the angle of (alpha, sigma).

        For variance-preserving schedules the derivative of x_t is then v, which is bounded for every schedule.
        """
        return torch.atan2(self.sigma(t), self.alpha(t))

    def d_clock(self, t: Times) -> Times:
        """Derivative of the clock with respect to t."""
        alpha, sigma = self.alpha(t), self.sigma(t)
        return (alpha * self.d_sigma(t) - sigma * self.d_alpha(t)) / (alpha.square() + sigma.square())


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """alpha = cos(angle), sigma = sin(angle), the angle linear in t: Nichol, Dhariwal (2021); Kingma et al. (2021)."""

    log_snr_max: float = LOG_SNR_MAX

    @property
    def _ends(self) -> tuple[float, float]:
        first = math.atan(math.exp(-self.log_snr_max / 2))
        return first, math.pi / 2 - 2 * first

    def _angle(self, t: Times) -> Times:
        first, span = self._ends
        return first + span * t

    def alpha(self, t: Times) -> Times:
        return self._angle(t).cos()

    def sigma(self, t: Times) -> Times:
        return self._angle(t).sin()

    def d_alpha(self, t: Times) -> Times:
        return -self._ends[1] * self._angle(t).sin()

    def d_sigma(self, t: Times) -> Times:
        return self._ends[1] * self._angle(t).cos()

    def time_of_noise(self, ratio: Times) -> Times:
        first, span = self._ends
        return (ratio.atan() - first) / span


@dataclass(frozen=True)
class LinearSchedule(Schedule):
    """Noise rate linear in t: Ho et al. (2020), in continuous time Song et al. (2021).

    -2 log alpha = c + b_0 t + (b_1 - b_0) t^2 / 2 with b_0 = `slowest` and b_1 = `fastest`; c sets the log-SNR at t =
    0, which is about -10 at t = 1.
    """

    slowest: float = 0.1
    fastest: float = 20.0
    log_snr_max: float = LOG_SNR_MAX

    @property
    def _start(self) -> float:
        return math.log1p(math.exp(-self.log_snr_max))

    def _decay(self, t: Times) -> Times:
        return self._start + self.slowest * t + (self.fastest - self.slowest) / 2 * t.square()

    def _rate(self, t: Times) -> Times:
        return self.slowest + (self.fastest - self.slowest) * t

    def alpha(self, t: Times) -> Times:
        return (-self._decay(t) / 2).exp()

    def sigma(self, t: Times) -> Times:
        return (-(-self._decay(t)).expm1()).sqrt()

    def d_alpha(self, t: Times) -> Times:
        return -self._rate(t) / 2 * self.alpha(t)

    def d_sigma(self, t: Times) -> Times:
        return self._rate(t) / 2 * self.alpha(t).square() / self.sigma(t)

    def time_of_noise(self, ratio: Times) -> Times:
        gap = ratio.clamp(max=1e9).square().log1p() - self._start
        root = (self.slowest**2 + 2 * (self.fastest - self.slowest) * gap).clamp(min=0).sqrt()
        return 2 * gap / (self.slowest + root)


@dataclass(frozen=True)
class SigmoidSchedule(Schedule):
    """alpha^2 follows a decreasing sigmoid between -`reach` and `reach`: Jabri, Fleet, Chen (2022)."""

    reach: float = 3.0
    log_snr_max: float = LOG_SNR_MAX

    @property
    def _least(self) -> float:
        return 1 / (1 + math.exp(self.log_snr_max))

    @property
    def _top(self) -> float:
        return 1 / (1 + math.exp(-self.reach))

    def _fall(self, t: Times) -> Times:
        """Increases from 0 at t = 0 to 1 at t = 1."""
        return (torch.sigmoid((2 * t - 1) * self.reach) - (1 - self._top)) / (2 * self._top - 1)

    def _d_fall(self, t: Times) -> Times:
        value = torch.sigmoid((2 * t - 1) * self.reach)
        return 2 * self.reach * value * (1 - value) / (2 * self._top - 1)

    def alpha(self, t: Times) -> Times:
        return (self._least + (1 - 2 * self._least) * self._fall(1 - t)).sqrt()

    def sigma(self, t: Times) -> Times:
        return (self._least + (1 - 2 * self._least) * self._fall(t)).sqrt()

    def d_alpha(self, t: Times) -> Times:
        return -(1 - 2 * self._least) * self._d_fall(t) / (2 * self.alpha(t))

    def d_sigma(self, t: Times) -> Times:
        return (1 - 2 * self._least) * self._d_fall(t) / (2 * self.sigma(t))

    def time_of_noise(self, ratio: Times) -> Times:
        share = 1 / (1 + ratio.pow(-2))  # sigma^2
        fall = ((share - self._least) / (1 - 2 * self._least)).clamp(0, 1)
        return (torch.logit(1 - self._top + fall * (2 * self._top - 1)) / self.reach + 1) / 2


@dataclass(frozen=True)
class EDMSchedule(Schedule):
    """Variance exploding: alpha = 1 and sigma^(1 / rho) linear in t: Karras et al. (2022), eq. 5.

    Euler's and Heun's methods take their steps in sigma, as in that paper.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0

    def _root(self, t: Times) -> Times:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return low + (high - low) * t

    def alpha(self, t: Times) -> Times:
        return torch.ones_like(t)

    def sigma(self, t: Times) -> Times:
        return self._root(t).pow(self.rho)

    def d_alpha(self, t: Times) -> Times:
        return torch.zeros_like(t)

    def d_sigma(self, t: Times) -> Times:
        span = self.sigma_max ** (1 / self.rho) - self.sigma_min ** (1 / self.rho)
        return self.rho * span * self._root(t).pow(self.rho - 1)

    def time_of_noise(self, ratio: Times) -> Times:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return (ratio.pow(1 / self.rho) - low) / (high - low)

    def clock(self, t: Times) -> Times:
        return self.sigma(t)

    def d_clock(self, t: Times) -> Times:
        return self.d_sigma(t)


@dataclass(frozen=True)
class StraightSchedule(Schedule):
    """alpha = 1 - t, sigma = t: Liu et al. (2022), "rectified flow"; Lipman et al. (2022), with time reversed."""

    def alpha(self, t: Times) -> Times:
        return 1 - t

    def sigma(self, t: Times) -> Times:
        return t

    def d_alpha(self, t: Times) -> Times:
        return -torch.ones_like(t)

    def d_sigma(self, t: Times) -> Times:
        return torch.ones_like(t)

    def time_of_noise(self, ratio: Times) -> Times:
        return 1 / (1 + 1 / ratio)

    def clock(self, t: Times) -> Times:
        return t

    def d_clock(self, t: Times) -> Times:
        return torch.ones_like(t)


SCHEDULES: dict[str, type[Schedule]] = {
    "cosine": CosineSchedule,
    "linear": LinearSchedule,
    "sigmoid": SigmoidSchedule,
    "edm": EDMSchedule,
}
