"""Operators that weigh each element on its own: nothing lost, or some elements not seen."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.diffusion.operators.noise_models import Noise
from vqfusion.diffusion.operators.operator import Operator, Spectrum
from vqfusion.errors import UserError


class Denoise(Operator):
    """y = x + noise, at any rank. `sigma` None: estimated from y."""

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


class Mask(Operator):
    """Only elements where `seen` is True are measured: `[*size]`, `[C, *size]` or `[B, C, *size]`, any rank."""

    kind: ClassVar[str] = "mask"

    def __init__(self, seen: Bool[Tensor, "..."], sigma: float | Tensor | None = 0.0, noise: Noise | None = None):
        super().__init__(sigma, noise)
        if not bool(seen.any()):
            raise UserError("the mask hides everything: there is nothing to restore from")
        self.seen = seen

    def weights(self, like: Tensor) -> Tensor:
        """1 where seen, else 0, in the dtype and place of `like`; UserError where the mask does not fit."""
        size = like.shape[-self.seen.ndim :]
        if self.seen.ndim < like.ndim - 2 or any(m not in (1, n) for m, n in zip(self.seen.shape, size, strict=False)):
            raise UserError(
                f"the mask measures {list(self.seen.shape)} and the signal {list(like.shape[2:])}: make them the same size"
            )
        return self.seen.to(like)

    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return x * self.weights(x)

    def A_adjoint(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return y * self.weights(y)

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        return residual * self.weights(residual) / (1 + damping)

    def spectrum(self, shape: tuple[int, ...], like: Tensor) -> Spectrum:
        weights = self.weights(like.new_empty(1, *shape))
        return Spectrum(weights, _same, _same, lambda y: y * weights)


def _same(x: Tensor) -> Tensor:
    return x
