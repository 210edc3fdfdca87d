"""A prior averaged over mirrored copies of a signal."""

from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.posterior.question import RestorationPrior


class MirroredPrior:
    """Mean over 8 mirrored (for pictures also transposed) copies: Timofte, Rothe, Van Gool (2016), section 3.5.

    A mirrored signal is as probable as the signal, so that each result estimates the same posterior mean, with
    different errors. 8 network calls for pictures and volumes; 2 for sound, whose sign is inverted instead.
    """

    def __init__(self, prior: RestorationPrior):
        self.prior = prior

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Range of noise levels that the prior was trained for."""
        return self.prior.sigma_range

    @property
    def learned(self) -> tuple[str, ...]:
        """What the prior was trained on beside white noise of one level, see `PriorConfig`."""
        return getattr(self.prior, "learned", ())

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: Any = None) -> Float[Tensor, "B C ..."]:
        """As `Prior.denoise`; a map of levels is mirrored like the signal."""
        rank, mapped = x.ndim - 2, getattr(sigma, "ndim", 0) > 1
        if rank == 1:
            return (self.prior.denoise(x, sigma) - self.prior.denoise(-x, sigma)) / 2
        axes = range(2, x.ndim)
        total, count = torch.zeros_like(x), 0
        for mirrored in [chosen for k in range(rank + 1) for chosen in combinations(axes, k)]:
            for turned in (False, True) if rank == 2 else (False,):

                def copy(values: Tensor, mirrored: tuple = mirrored, turned: bool = turned) -> Tensor:
                    return values.flip(mirrored).transpose(-1, -2) if turned else values.flip(mirrored)

                answer = self.prior.denoise(copy(x), copy(sigma) if mapped else sigma)
                total += (answer.transpose(-1, -2) if turned else answer).flip(mirrored)
                count += 1
        return total / count
