"""Blur without assumptions about the scene beyond the borders of the picture."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.operators.fourier import Blur
from vqfusion.diffusion.operators.operator import Operator
from vqfusion.errors import UserError


class ValidBlur(Operator):
    """Convolution where the kernel lies inside the signal ("valid"), for any rank.

    The signal is larger than y by `k - 1` elements along each axis of the `kernel` `[*k]`, so that nothing is assumed
    about the scene beyond a photograph; `Blur`, which takes signals as periodic, rings at the borders. `under` crops a
    result to the size of y.
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
        """Pad y by repeating its edge."""
        return F.pad(y, self._margins(), mode="replicate")

    def under(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Crop a signal to the elements at which y was measured."""
        for axis, k in enumerate(self.kernel.shape, 2):
            x = x.narrow(axis, k - 1 - k // 2, x.shape[axis] - k + 1)
        return x

    def _margins(self) -> list[int]:
        """Elements of the signal beyond y, in the order of `pad`: last axis first, before and after."""
        return [side for k in reversed(self.kernel.shape) for side in (k - 1 - k // 2, k // 2)]
