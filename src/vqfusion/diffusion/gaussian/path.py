"""Gaussian paths from data to noise, and the conversion between kinds of predictions."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.schedules import SCHEDULES, Schedule
from vqfusion.types import Prediction, PredictionKind

KINDS: tuple[PredictionKind, ...] = ("eps", "x0", "v", "velocity")


class GaussianPath:
    """Gaussian path x_t = alpha(t) x_0 + sigma(t) eps with eps ~ N(0, 1), of any rank; time 0 is data, 1 is noise.

    Times are `[B]` tensors, one for each item; coefficients are computed in float64 and broadcast over items of any
    shape.

    A denoiser may predict any of these functions of the pair (x_0, eps) behind x_t:

    - eps: Ho et al. (2020);
    - x0;
    - v = (alpha s eps - sigma x_0 / s) / r, where s = data_std and r^2 = alpha^2 s^2 + sigma^2: Salimans, Ho (2022),
      and for `edm` the preconditioned output of Karras et al. (2022), eq. 7, with the opposite sign;
    - velocity = alpha' x_0 + sigma' eps, the drift of the probability flow.

    Each is a linear form a x_0 + b eps, and x_t is another, so that any of them follows from any other (`convert`).

    Args:
        schedule: `cosine`, `linear`, `sigmoid` (variance preserving), `edm` (variance exploding) or a `Schedule`.
        data_std: Standard deviation of the data, with which the input of networks is scaled to unit variance.
    """

    def __init__(self, schedule: str | Schedule = "cosine", data_std: float = 1.0):
        if isinstance(schedule, str) and schedule not in SCHEDULES:
            raise ValueError(f"schedule {schedule!r} is not one of {', '.join(SCHEDULES)}")
        self.schedule = SCHEDULES[schedule]() if isinstance(schedule, str) else schedule
        self.data_std = data_std

    def alpha(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Factor of the data at time t."""
        return self.schedule.alpha(_precise(t))

    def sigma(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Standard deviation of the noise at time t."""
        return self.schedule.sigma(_precise(t))

    def d_alpha(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Derivative of alpha with respect to t."""
        return self.schedule.d_alpha(_precise(t))

    def d_sigma(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Derivative of sigma with respect to t."""
        return self.schedule.d_sigma(_precise(t))

    def log_snr(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Log signal-to-noise ratio log(alpha^2 / sigma^2); infinite where alpha or sigma is zero."""
        return 2 * (self.alpha(t).log() - self.sigma(t).log())

    def d_log_snr(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Derivative of the log-SNR with respect to t; negative."""
        return 2 * (self.d_alpha(t) / self.alpha(t) - self.d_sigma(t) / self.sigma(t))

    def time_of_noise(self, ratio: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Time at which x_t / alpha is the data plus noise of standard deviation `ratio`, clipped to [0, 1]."""
        return self.schedule.time_of_noise(_precise(ratio)).clamp(0, 1)

    def input_scale(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Factor that scales x_t to unit variance for a network: c_in of Karras et al. (2022)."""
        return 1 / (self.alpha(t).square() * self.data_std**2 + self.sigma(t).square()).sqrt()

    def add_noise(
        self, x0: Float[Tensor, "B ..."], noise: Float[Tensor, "B ..."], t: Float[Tensor, " B"]
    ) -> Float[Tensor, "B ..."]:
        """x_t from data and noise."""
        return scale(x0, self.alpha(t)) + scale(noise, self.sigma(t))

    def target(
        self,
        kind: PredictionKind,
        x0: Float[Tensor, "B ..."],
        noise: Float[Tensor, "B ..."],
        t: Float[Tensor, " B"],
    ) -> Float[Tensor, "B ..."]:
        """Target of a denoiser of this kind, from data and noise."""
        a, b = self._form(kind, t)
        return scale(x0, a) + scale(noise, b)

    def convert(
        self, prediction: Prediction, x_t: Float[Tensor, "B ..."], t: Float[Tensor, " B"], kind: PredictionKind
    ) -> Float[Tensor, "B ..."]:
        """Convert a prediction to another kind, exactly.

        With x_t = (alpha, sigma) and the prediction (a, b) as forms in (x_0, eps) and D = alpha b - sigma a, the form
        (a', b') is [(a' b - b' a) x_t + (alpha b' - sigma a') prediction] / D.

        Args:
            prediction: Prediction at `x_t` and `t`.
            x_t: Noisy data.
            t: Times.
            kind: The kind to convert to.

        Returns:
            The prediction as this kind.

        Raises:
            ValueError: D = 0. At pure noise, eps does not determine the data; at pure data, x0 does not determine the
                noise.
        """
        if kind == prediction.kind:
            return prediction.value
        a, b = self._form(prediction.kind, t)
        a_new, b_new = self._form(kind, t)
        determinant = self.determinant(prediction.kind, t)
        if bool((determinant == 0).any()):
            raise ValueError(
                f"{kind} does not follow from {prediction.kind} at t = {float(t[determinant == 0][0]):g} of this "
                "path; use a denoiser that predicts v, or keep away from that end"
            )
        of_x = (a_new * b - b_new * a) / determinant
        of_prediction = self.determinant(kind, t) / determinant
        of_both = scale(at_least_float32(x_t), of_x) + scale(at_least_float32(prediction.value), of_prediction)
        return of_both.to(torch.promote_types(x_t.dtype, prediction.value.dtype))

    def determinant(self, kind: PredictionKind, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """D = alpha b - sigma a of a kind; the errors of two kinds at the same x_t have the ratio of their D."""
        a, b = self._form(kind, t)
        return self.alpha(t) * b - self.sigma(t) * a

    def _form(self, kind: PredictionKind, t: Float[Tensor, " B"]) -> tuple[Tensor, Tensor]:
        """Coefficients (a, b) of the linear form a x_0 + b eps."""
        if kind == "velocity":
            return self.d_alpha(t), self.d_sigma(t)
        zero = torch.zeros_like(_precise(t))
        if kind == "eps":
            return zero, zero + 1
        if kind == "x0":
            return zero + 1, zero
        if kind == "v":
            scaling = self.input_scale(t)
            return -self.sigma(t) / self.data_std * scaling, self.alpha(t) * self.data_std * scaling
        raise ValueError(f"prediction {kind!r} is not one of {', '.join(KINDS)}")


def scale(x: Float[Tensor, "B ..."], factor: Float[Tensor, " B"]) -> Float[Tensor, "B ..."]:
    """Multiply each item by its own factor, in the dtype of the items; half precision is multiplied as float32.

    The product may fit float16 even where the factor does not (1 / sigma near the data).
    """
    wide = at_least_float32(x)
    return (wide * factor.to(wide).reshape(-1, *[1] * (x.ndim - 1))).to(x.dtype)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert `x` `[...]` from float16 or bfloat16 to float32; leave float32 and float64 unchanged."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _precise(t: Tensor) -> Tensor:
    """Convert to float64, or to float32 on devices without float64."""
    return t.float() if t.device.type == "mps" else t.double()
