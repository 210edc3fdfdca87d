"""A prior asked about mirrored copies of a signal, whose answers are averaged."""

from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.posterior.question import RestorationPrior


class MirroredPrior:
    """The mean over 8 mirrored (and, for pictures, turned) copies: Timofte, Rothe, Van Gool (2016), section 3.5.

    Signals mirrored are as likely as they are, so each answer is an estimate of the same posterior mean, and their
    errors differ. 8 calls for pictures and volumes; for sound, which is turned over instead, 2.
    """

    def __init__(self, prior: RestorationPrior):
        self.prior = prior

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.prior.sigma_range

    @property
    def learned(self) -> tuple[str, ...]:
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
