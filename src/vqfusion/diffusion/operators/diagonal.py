"""Operators that scale each element separately: all elements are measured, or some are not."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.operators.noise_models import Noise, PoissonGaussian, SaltPepper, StabilisedNoise
from vqfusion.diffusion.operators.operator import GaussianProblem, Operator, Spectrum
from vqfusion.errors import UserError

INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Denoise(Operator):
    """Identity: y = x + noise, for any rank.

    Args:
        sigma: Standard deviation of Gaussian noise; None estimates it from y.
        noise: Other noise, in place of `sigma`.
    """

    kind: ClassVar[str] = "denoise"

    def __init__(self, sigma: float | Tensor | None = None, noise: Noise | None = None):
        super().__init__(sigma, noise)

    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return x

    def A_adjoint(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return y

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        return residual / (1 + damping)

    def spectrum(self, shape: tuple[int, ...], like: Tensor) -> Spectrum:
        return Spectrum(like.new_ones(()), _same, _same, _same)

    def gaussian_problem(self, y: Float[Tensor, "B ..."]) -> GaussianProblem:
        """Transform stabilised noise to Gaussian noise; mask the elements that salt and pepper replaced."""
        if isinstance(self.noise, StabilisedNoise):
            noise = self.noise
            return GaussianProblem(Denoise(noise.level), noise.forward(y), noise.backward)
        if isinstance(self.noise, SaltPepper):
            return GaussianProblem(Mask(self.noise.seen(y)), y, _same)
        return super().gaussian_problem(y)


class LowDose(Denoise):
    """Photon noise: the signal 1 corresponds to `dose` photons, and the detector adds Gaussian noise of `sigma`."""

    kind: ClassVar[str] = "low_dose"

    def __init__(self, dose: float | int, sigma: float = 0.0):
        if not dose > 0:
            raise UserError(f"the dose is the number of photons of the signal 1 and must be > 0, not {dose}")
        super().__init__(noise=PoissonGaussian(1 / dose, sigma))


class Mask(Operator):
    """Measures only the elements where `seen` `[*size]`, `[C, *size]` or `[B, C, *size]` is True, for any rank.

    The other values of y are ignored.
    """

    kind: ClassVar[str] = "mask"
    shows_noise: ClassVar[bool] = False

    def __init__(self, seen: Bool[Tensor, "..."], sigma: float | Tensor | None = 0.0):
        super().__init__(sigma)
        if not bool(seen.any()):
            raise UserError("the mask hides everything: there is nothing to restore from")
        self.seen = seen

    def weights(self, like: Tensor) -> Tensor:
        """1 where seen, else 0, with dtype and device of `like`; UserError where the mask does not fit."""
        rank, lead = like.ndim - 2, self.seen.ndim - (like.ndim - 2)
        fits = 0 <= lead <= 2 and self.seen.shape[lead:] == like.shape[2:]
        if not fits or any(
            m not in (1, n) for m, n in zip(self.seen.shape[:lead], like.shape[2 - lead : 2], strict=True)
        ):
            mask, size = list(self.seen.shape), list(like.shape[-rank - 1 :])
            raise UserError(f"the mask measures {mask} and the signal {size}: give a mask of the same size")
        return self.seen.to(like)

    def signal_shape(self, y: Float[Tensor, "B ..."]) -> tuple[int, ...]:
        self.weights(y)
        return tuple(y.shape[1:])

    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return x * self.weights(x)

    def A_adjoint(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return y * self.weights(y)

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        return residual * self.weights(residual) / (1 + damping)

    def first_guess(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Fill holes smoothly with averages of ever larger blocks (pull-push, Gortler et al., 1996)."""
        return fill_smoothly(y, self.weights(y).expand_as(y))

    def spectrum(self, shape: tuple[int, ...], like: Tensor) -> Spectrum:
        weights = self.weights(like.new_empty(1, *shape))
        return Spectrum(weights, _same, _same, lambda y: y * weights)


class Gaps(Mask):
    """Packet loss in a sound or series: samples `start` to `stop` of each gap are missing."""

    kind: ClassVar[str] = "gaps"
    ranks: ClassVar[tuple[int, ...]] = (1,)

    def __init__(self, length: int, gaps: Sequence[tuple[int, int]], sigma: float | Tensor | None = 0.0):
        seen = torch.ones(length, dtype=torch.bool)
        for start, stop in gaps:
            if not 0 <= start < stop <= length:
                raise UserError(f"a gap is (start, stop) with 0 <= start < stop <= {length}, not ({start}, {stop})")
            seen[start:stop] = False
        super().__init__(seen, sigma)


def fill_smoothly(y: Float[Tensor, "B C ..."], weights: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
    """Y where the weight is 1; elsewhere the mean of the smallest surrounding block with a known element."""
    rank = y.ndim - 2
    if bool((weights > 0).all()):
        return y
    size = y.shape[2:]
    if max(size) == 1:
        return y * weights
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
    window = tuple(min(2, n) for n in size)
    padding = [side for n in reversed(size) for side in (0, n % 2 if n > 1 else 0)]
    share = pool(F.pad(weights, padding), window)
    total = pool(F.pad(y * weights, padding), window)
    known = (share > 0).to(y)
    coarse = fill_smoothly(total / share.clamp(min=1e-12) * known, known)
    wide = [n + extra for n, extra in zip(size, padding[1::2][::-1], strict=True)]
    fine = F.interpolate(coarse, size=wide, mode=INTERPOLATION[rank])
    for axis, n in enumerate(size, 2):
        fine = fine.narrow(axis, 0, n)
    return y * weights + fine * (1 - weights)


def _same(x: Tensor) -> Tensor:
    return x
