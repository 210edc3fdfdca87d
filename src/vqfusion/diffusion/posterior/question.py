"""Common parts of posterior sampling: the problem, the grid of noise levels, and one step to a lower level.

All methods use the variance-exploding form x_t = x_0 + sigma_t n, without scaling the data. A step evaluates the prior
once, turns E[x_0 | x_t] into an estimate of E[x_0 | x_t, y], and goes to the next level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.path import scale
from vqfusion.diffusion.noise import Generators, draw_noise
from vqfusion.diffusion.operators import Operator
from vqfusion.watch import told

RHO = 7.0
Levels = float | Float[Tensor, " B"] | Float[Tensor, "B D ..."]
"""Noise levels: one, one for each item, or a map `[B, 1 or C, *size]`."""
# assumed variance of an element of x_0 given x_t, as a function of the levels sigma_t [B]
Variance = Callable[[Tensor], Tensor]


@runtime_checkable
class RestorationPrior(Protocol):
    """A denoiser that serves as a prior of clean signals x_0.

    Signals are in sample units (pictures in [0, 1]) and are not scaled (variance exploding). A prior may have an
    attribute `learned` with further abilities: "uneven", sigma may be a map `[B, 1 or C, *size]`; "holes", sigma may be
    inf for missing values.
    """

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Smallest and largest sigma that the prior can denoise."""

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: Levels) -> Float[Tensor, "B C ..."]:
        """E[x_0 | x_0 + sigma n = x] for x `[B, C, *size]`; sigma is a number or one for each item, in the units of x.

        Differentiable in x where gradients are recorded.
        """


class CountedPrior:
    """A prior that counts its evaluations in `rows`, one for each item of each batch.

    Levels beyond the range of the prior are clipped to it.
    """

    def __init__(self, prior: RestorationPrior):
        self.prior, self.rows = prior, 0
        self.sigma_range = prior.sigma_range
        self.learned: tuple[str, ...] = getattr(prior, "learned", ())

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: Levels) -> Float[Tensor, "B C ..."]:
        """As `RestorationPrior.denoise`, counted."""
        self.rows += len(x)
        low, high = self.sigma_range
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        levels = levels.expand(len(x)) if levels.ndim < 2 else levels
        return self.prior.denoise(x, torch.where(levels.isinf(), levels, levels.clamp(low, high)))


@dataclass(frozen=True)
class Question:
    """A restoration problem: a prior, and a measurement y = A(x) + sigma n.

    Attributes:
        prior: The prior.
        operator: The operator A.
        y: The measurement.
        sigma: Noise level that broadcasts against x: one for each item `[B, 1, ...]`, or a map where the operator acts
            element by element.
    """

    prior: RestorationPrior
    operator: Operator
    y: Tensor
    sigma: Tensor

    def damping(self, variance: Float[Tensor, " B"]) -> Tensor:
        """Penalty sigma^2 / variance on |z - x_0|^2 in the proximal step, for an estimate x_0 with this variance."""
        return self.sigma.square() / variance.reshape(-1, *[1] * (self.sigma.ndim - 1)).to(self.sigma)

    def item_sigma(self, method: str) -> Tensor:
        """Noise level `[B, 1, ...]`; ValueError where it varies within an item."""
        if any(n != 1 for n in self.sigma.shape[1:]):
            raise ValueError(f"{method} takes one sigma for each item: use method diffpir for a map of sigma")
        return self.sigma


def noise_levels(
    highest: Float[Tensor, " B"], lowest: Float[Tensor, " B"], steps: int, rho: float = RHO
) -> Float[Tensor, "N B"]:
    """`steps` decreasing noise levels and a final 0 for each item, in equal steps of sigma^(1/rho).

    Karras et al. (2022), eq. 5.

    Args:
        highest: First level of each item.
        lowest: Last level before 0 of each item.
        steps: Number of levels, at least 1.
        rho: Exponent; larger values put more levels near 0.

    Returns:
        Levels `[steps + 1, B]`.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if steps == 1:
        return torch.stack([highest, torch.zeros_like(highest)])
    places = torch.linspace(0, 1, steps, dtype=highest.dtype, device=highest.device)[:, None]
    top, bottom = highest ** (1 / rho), lowest ** (1 / rho)
    return torch.cat([(top + places * (bottom - top)).pow(rho), torch.zeros_like(highest)[None]])


def share_of_noise(trust: float = 1.0) -> Variance:
    """Variance sigma_t^2 / trust; Zhu et al. (2023) and Zhang et al. (2021) write lambda for `trust`."""
    return lambda level: level.square() / trust


def gaussian_prior(std: float) -> Variance:
    """Exact variance for a Gaussian prior with independent elements of this standard deviation."""
    return lambda level: 1 / (1 / std**2 + 1 / level.square())


def sloped(slope: float) -> Variance:
    """Variance for natural signals: the variance left by a denoiser grows like `slope` times sigma for large sigma."""
    return lambda level: 1 / (1 / level.square() + 1 / (slope * level))


def step_down(
    x: Float[Tensor, "B C ..."],
    x0: Float[Tensor, "B C ..."],
    now: Float[Tensor, " B"],
    after: Float[Tensor, " B"],
    eta: float,
    generators: Generators,
) -> Float[Tensor, "B C ..."]:
    """Go from one level to the next with a fraction `eta` of the fresh noise of DDPM.

    Song, Meng, Ermon (2021), eq. 12 and 16.

    Args:
        x: Noisy signal at level `now`.
        x0: Estimate of the clean signal.
        now: Current level of each item.
        after: Next level of each item.
        eta: 0 is deterministic, 1 is DDPM.
        generators: One for each item.

    Returns:
        Noisy signal at level `after`.
    """
    keep, fresh = step_noises(now, after, eta)
    moved = x0 + scale(x - x0, keep / now)
    if bool((fresh > 0).any()):
        moved = moved + scale(draw_noise(x.shape[1:], generators, x.dtype, x.device), fresh)
    return moved


def step_noises(
    now: Float[Tensor, " B"], after: Float[Tensor, " B"], eta: float
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Standard deviations of the kept and of the fresh noise; their squares sum to after^2."""
    fresh = eta * after * (1 - (after / now).square()).clamp(min=0).sqrt()
    return (after.square() - fresh.square()).clamp(min=0).sqrt(), fresh


def ancestral(
    prior: RestorationPrior,
    y: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    generators: Generators,
) -> Float[Tensor, "B C ..."]:
    """Sample x_0 given y = x_0 + sigma n, sigma the first level, by the reverse process started at y itself.

    Exact for any prior as the number of steps grows: Ho et al. (2020), algorithm 2, from an intermediate level.

    Args:
        prior: The prior.
        y: Noisy signal.
        levels: Decreasing noise levels of each item.
        generators: One for each item.

    Returns:
        The samples.
    """
    x = y
    for now, after in told(list(zip(levels[:-1], levels[1:], strict=True))):
        x = step_down(x, prior.denoise(x, now), now, after, 1.0, generators)
    return x
