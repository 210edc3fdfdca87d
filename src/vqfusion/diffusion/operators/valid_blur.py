"""Blur of a scene that goes on beyond the borders of the picture."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.operators.fourier import Blur
from vqfusion.diffusion.operators.operator import Operator
from vqfusion.errors import UserError


class ValidBlur(Operator):
    """y = the part of a convolution for which the kernel lies inside the signal ("valid"), at any rank.

    The signal is larger than y by `k - 1` elements along an axis of the `kernel` `[*k]`, so that nothing is assumed of
    what lies beyond the border of a photograph: `Blur`, which takes signals for periodic, rings there. `under` cuts an
    answer to what y shows.
    """

    kind: ClassVar[str] = "valid_blur"

    def __init__(self, kernel: Float[Tensor, "..."], sigma: float | Tensor | None = 0.0):
        super().__init__(sigma)
        self.circular = Blur(kernel)
        self.kernel = kernel

    def check_rank(self, x: Tensor) -> None:
        self.circular.check_rank(x)

    def signal_shape(self, y: Float[Tensor, "B C ..."]) -> tuple[int, ...]:
        if self.kernel.ndim != y.ndim - 2:
            raise UserError(f"a blur kernel of {self.kernel.ndim} axes does not fit a signal {list(y.shape[2:])}")
        return (y.shape[1], *(n + k - 1 for n, k in zip(y.shape[2:], self.kernel.shape, strict=True)))

    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return self.under(self.circular.A(x))

    def A_adjoint(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return self.circular.A_adjoint(F.pad(y, self._margins()))

    def first_guess(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """y with its border elements repeated."""
        return F.pad(y, self._margins(), mode="replicate")

    def under(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """The part of a signal at whose elements y was measured."""
        for axis, k in enumerate(self.kernel.shape, 2):
            x = x.narrow(axis, k - 1 - k // 2, x.shape[axis] - k + 1)
        return x

    def _margins(self) -> list[int]:
        """What the signal has beyond y, as `pad` takes it: the last axis first, before and after."""
        return [side for k in reversed(self.kernel.shape) for side in (k - 1 - k // 2, k // 2)]
