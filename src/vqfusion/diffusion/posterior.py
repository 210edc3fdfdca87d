"""What restoration asks of a prior, and what its methods share: the grid of noise levels and the count of calls."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

RHO = 7.0


@runtime_checkable
class RestorationPrior(Protocol):
    """A denoiser as a prior of clean signals x_0.

    `denoise(x, sigma)` is E[x_0 | x_0 + sigma n = x] for x `[B, C, *size]` in sample units (pictures in [0, 1];
    variance exploding: the data are never scaled), sigma a number or one for each item `[B]`, in the same units.
    Gradients to x pass where the caller records them. `sigma_range` holds the least and the greatest sigma.
    """

    @property
    def sigma_range(self) -> tuple[float, float]: ...

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: float | Float[Tensor, " B"]) -> Float[Tensor, "B C ..."]: ...


class CountedPrior:
    """A prior that counts its calls: `nfe` for each item. Levels beyond the range of the prior are its nearest end."""

    def __init__(self, prior: RestorationPrior):
        self.prior, self.nfe = prior, 0
        self.sigma_range = prior.sigma_range

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: float | Float[Tensor, " B"]) -> Float[Tensor, "B C ..."]:
        self.nfe += 1
        low, high = self.sigma_range
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x)).clamp(low, high)
        return self.prior.denoise(x, levels)


def noise_grid(highest: float, lowest: float, steps: int, rho: float = RHO) -> list[float]:
    """`steps` falling levels from highest to lowest, equal steps of sigma^(1/rho): Karras et al. (2022), eq. 5."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    places = torch.linspace(0, 1, steps, dtype=torch.float64)
    ends = highest ** (1 / rho), lowest ** (1 / rho)
    return (ends[0] + places * (ends[1] - ends[0])).pow(rho).tolist()
