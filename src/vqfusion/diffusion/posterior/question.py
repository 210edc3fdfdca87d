"""What restoration asks of a prior, and what its methods share: the question, the grid of levels, one step down.

All methods live where noise is added and data are never scaled (variance exploding): x_t = x_0 + sigma_t n. A step
asks the prior once, turns E[x_0 | x_t] into an estimate of E[x_0 | x_t, y] by its own means, and goes down a level.
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

RHO = 7.0
Levels = float | Float[Tensor, " B"] | Float[Tensor, "B D ..."]
"""Noise levels: one, one for each item, or a map `[B, 1 or C, *size]`."""
# what is taken for the variance of an element of x_0 given x_t, at levels sigma_t `[B]`
Variance = Callable[[Tensor], Tensor]


@runtime_checkable
class RestorationPrior(Protocol):
    """A denoiser as a prior of clean signals x_0.

    `denoise(x, sigma)` is E[x_0 | x_0 + sigma n = x] for x `[B, C, *size]` in sample units (pictures in [0, 1];
    variance exploding: the data are never scaled), sigma a number or one for each item `[B]`, in the same units.
    Gradients to x pass where the caller records them. `sigma_range` holds the least and the greatest sigma. A prior
    may have `learned`, names of what else it knows: with "uneven" sigma may be a map `[B, 1 or C, *size]`, with
    "holes" inf in it for what is lost.
    """

    @property
    def sigma_range(self) -> tuple[float, float]: ...

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: Levels) -> Float[Tensor, "B C ..."]: ...


class CountedPrior:
    """A prior that counts its calls: `rows`, one for each item of each batch.

    Levels beyond the range of the prior are taken as its nearest end.
    """

    def __init__(self, prior: RestorationPrior):
        self.prior, self.rows = prior, 0
        self.sigma_range = prior.sigma_range
        self.learned: tuple[str, ...] = getattr(prior, "learned", ())

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: Levels) -> Float[Tensor, "B C ..."]:
        self.rows += len(x)
        low, high = self.sigma_range
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        levels = levels.expand(len(x)) if levels.ndim < 2 else levels
        return self.prior.denoise(x, torch.where(levels.isinf(), levels, levels.clamp(low, high)))


@dataclass(frozen=True)
class Question:
    """y = A(x) + sigma n, asked of a prior.

    `sigma` broadcasts against x: one level for each item `[B, 1, ...]`, or a map where the operator weighs elements
    one by one.
    """

    prior: RestorationPrior
    operator: Operator
    y: Tensor
    sigma: Tensor

    def damping(self, variance: Float[Tensor, " B"]) -> Tensor:
        """sigma^2 / variance, what a data step weighs an estimate of this variance with."""
        return self.sigma.square() / variance.reshape(-1, *[1] * (self.sigma.ndim - 1)).to(self.sigma)

    def item_sigma(self, method: str) -> Tensor:
        """`[B, 1, ...]`; ValueError where the level changes within an item."""
        if any(n != 1 for n in self.sigma.shape[1:]):
            raise ValueError(f"{method} takes one sigma for each item: use method diffpir for a map of sigma")
        return self.sigma


def noise_levels(
    highest: Float[Tensor, " B"], lowest: Float[Tensor, " B"], steps: int, rho: float = RHO
) -> Float[Tensor, "N B"]:
    """`steps` falling levels and a last 0, for each item, equal steps of sigma^(1/rho): Karras et al. (2022), eq. 5."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if steps == 1:
        return torch.stack([highest, torch.zeros_like(highest)])
    places = torch.linspace(0, 1, steps, dtype=highest.dtype, device=highest.device)[:, None]
    top, bottom = highest ** (1 / rho), lowest ** (1 / rho)
    return torch.cat([(top + places * (bottom - top)).pow(rho), torch.zeros_like(highest)[None]])


def share_of_noise(trust: float = 1.0) -> Variance:
    """sigma_t^2 / trust; Zhu et al. (2023) and Zhang et al. (2021) write lambda for `trust`."""
    return lambda level: level.square() / trust


def gaussian_prior(std: float) -> Variance:
    """Exact where the prior is Gaussian with independent elements of this deviation."""
    return lambda level: 1 / (1 / std**2 + 1 / level.square())


def sloped(slope: float) -> Variance:
    """Of natural signals: what a denoiser leaves of much noise grows as sigma itself, by this many sample units."""
    return lambda level: 1 / (1 / level.square() + 1 / (slope * level))


def step_down(
    x: Float[Tensor, "B C ..."],
    x0: Float[Tensor, "B C ..."],
    now: Float[Tensor, " B"],
    after: Float[Tensor, " B"],
    eta: float,
    generators: Generators,
) -> Float[Tensor, "B C ..."]:
    """From one level to the next with a share `eta` of DDPM's fresh noise: Song, Meng, Ermon (2021), eq. 12 and 16."""
    keep, fresh = step_noises(now, after, eta)
    moved = x0 + scale(x - x0, keep / now)
    if bool((fresh > 0).any()):
        moved = moved + scale(draw_noise(x.shape[1:], generators, x.dtype, x.device), fresh)
    return moved


def step_noises(
    now: Float[Tensor, " B"], after: Float[Tensor, " B"], eta: float
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Standard deviations of the noise that is kept and of the fresh one; their squares sum to after^2."""
    fresh = eta * after * (1 - (after / now).square()).clamp(min=0).sqrt()
    return (after.square() - fresh.square()).clamp(min=0).sqrt(), fresh


def ancestral(
    prior: RestorationPrior,
    y: Float[Tensor, "B C ..."],
    levels: Float[Tensor, "N B"],
    generators: Generators,
) -> Float[Tensor, "B C ..."]:
    """A draw of x_0 given y = x_0 + sigma n, where sigma is the first level: the reverse chain started at y itself.

    Exact as the steps grow, for any prior; Ho et al. (2020), algorithm 2, from the middle.
    """
    x = y
    for now, after in zip(levels[:-1], levels[1:], strict=True):
        x = step_down(x, prior.denoise(x, now), now, after, 1.0, generators)
    return x
