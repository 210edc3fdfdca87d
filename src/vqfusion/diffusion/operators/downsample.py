"""Downsampling along each axis."""

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.operators.operator import Operator, Spectrum, conjugate_gradients
from vqfusion.errors import UserError
from vqfusion.limits import MEMORY

NOTHING = 1e-6  # singular values below this fraction of the largest count as zero
DIRECT = 1024  # elements of an axis; the time of its decomposition grows with the third power
UPSAMPLING = {1: "linear", 2: "bicubic", 3: "trilinear"}


class Downsample(Operator):
    """Divides the length of each axis by `scale`: an integer, or one for each axis; any rank.

    `bicubic` is the antialiased kernel of Keys (1981) with a = -0.5, `scale` times wider and normalised at the borders,
    as in Pillow (and, except for the borders, Matlab's `imresize`); `area` averages blocks. Sizes must be divisible by
    the scale.
    """

    kind: ClassVar[str] = "downsample"

    def __init__(self, scale: int | Sequence[int], kernel: str = "bicubic", sigma: float | Tensor | None = 0.0):
        super().__init__(sigma)
        scales = [scale] if isinstance(scale, int) else list(scale)
        if not all(isinstance(s, int) and s >= 1 for s in scales):
            raise UserError(f"scale must be a whole number >= 1, or one for each axis, not {scale}")
        if kernel not in KERNELS:
            raise UserError(f"kernel {kernel!r} is not one of {', '.join(KERNELS)}")
        self.scale, self.kernel = scale, kernel

    def scales(self, rank: int) -> list[int]:
        """Scale of each axis."""
        scales = [self.scale] * rank if isinstance(self.scale, int) else list(self.scale)
        if len(scales) != rank:
            raise UserError(f"scale {self.scale} has {len(scales)} numbers for a signal of rank {rank}")
        return scales

    def signal_shape(self, y: Float[Tensor, "B C ..."]) -> tuple[int, ...]:
        return (y.shape[1], *(n * s for n, s in zip(y.shape[2:], self.scales(y.ndim - 2), strict=True)))

    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        for axis, scale in enumerate(self.scales(x.ndim - 2), 2):
            if x.shape[axis] % scale:
                raise UserError(
                    f"a signal {list(x.shape[2:])} is not divisible by the scale {self.scale}: crop it first"
                )
            x = _apply(_matrix(self.kernel, scale, x.shape[axis] // scale).to(x.device, x.dtype), x, axis)
        return x

    def A_adjoint(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        for axis, scale in enumerate(self.scales(y.ndim - 2), 2):
            y = _apply(_matrix(self.kernel, scale, y.shape[axis]).to(y.device, y.dtype).t(), y, axis)
        return y

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        """Exact A' (A A' + damping)^-1 residual: A A' is a Kronecker product of small matrices, one for each axis.

        An axis of more than `DIRECT` elements is solved by conjugate gradients: A A' is sparse and well conditioned.
        """
        if max(residual.shape[2:]) > DIRECT:
            weight = damping.to(residual) if isinstance(damping, Tensor) else damping
            solved = conjugate_gradients(lambda v: self.A(self.A_adjoint(v)) + weight * v, residual)
            return self.A_adjoint(solved)
        parts = [
            _decomposition(self.kernel, s, n)
            for n, s in zip(residual.shape[2:], self.scales(residual.ndim - 2), strict=True)
        ]
        power = residual.new_ones(())
        for _, values in parts:
            power = power[..., None] * values.square().to(residual)
        turned = residual
        for axis, (vectors, _) in enumerate(parts, 2):
            turned = _apply(vectors.t().to(residual), turned, axis)
        turned = torch.where(power > NOTHING**2 * power.max(), turned / (power + damping), 0)
        for axis, (vectors, _) in enumerate(parts, 2):
            turned = _apply(vectors.to(residual), turned, axis)
        return self.A_adjoint(turned)

    def first_guess(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Interpolate: linear, bicubic or trilinear."""
        return F.interpolate(y, size=self.signal_shape(y)[1:], mode=UPSAMPLING[y.ndim - 2])

    def spectrum(self, shape: tuple[int, ...], like: Tensor) -> Spectrum:
        parts = []
        for n, scale in zip(shape[1:], self.scales(len(shape) - 1), strict=True):
            MEMORY.require(24 * n**2, f"the singular value decomposition of an axis of {n} (use --method diffpir)")
            dense = _matrix(self.kernel, scale, n // scale).to_dense()
            left, some, right = torch.linalg.svd(dense)
            parts.append((left.to(like), F.pad(some, (0, n - len(some))).to(like), right.to(like)))
        values = like.new_ones(())
        for _, some, _ in parts:
            values = values[..., None] * some

        def along(x: Tensor, matrices: list[Tensor]) -> Tensor:
            for axis, matrix in enumerate(matrices, 2):
                x = _apply(matrix, x, axis)
            return x

        def measured(y: Tensor) -> Tensor:
            turned = along(y, [left.t() for left, _, _ in parts])
            missing = [side for n, m in zip(shape[:0:-1], y.shape[:1:-1], strict=True) for side in (0, n - m)]
            return F.pad(turned, missing)

        return Spectrum(
            torch.where(values > NOTHING * values.max(), values, 0),
            lambda x: along(x, [right for _, _, right in parts]),
            lambda x: along(x, [right.t() for _, _, right in parts]),
            measured,
        )


def cubic(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Cubic convolution kernel: Keys (1981), eq. 15, a = -0.5; zero beyond 2."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def block(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Box kernel: 1 within half an element, else 0."""
    return (x < 0.5).to(x)


KERNELS = {"bicubic": cubic, "area": block}


@lru_cache(maxsize=32)
def _matrix(kernel: str, scale: int, length: int) -> Tensor:
    """Sparse `[length, scale * length]` float64: row i weights the samples around (i + 1/2) scale and sums to 1."""
    reach = 2 * scale
    middle = (torch.arange(length, dtype=torch.float64)[:, None] + 0.5) * scale
    columns = middle.long() + torch.arange(-reach - 1, reach + 2)
    weights = KERNELS[kernel]((columns + 0.5 - middle).abs() / scale)
    inside = (columns >= 0) & (columns < scale * length) & (weights != 0)
    weights = torch.where(inside, weights, 0.0)
    weights = weights / weights.sum(1, keepdim=True)
    rows = torch.arange(length)[:, None].expand_as(columns)
    places = torch.stack([rows[inside], columns[inside]])
    return torch.sparse_coo_tensor(places, weights[inside], (length, scale * length), check_invariants=True).coalesce()


@lru_cache(maxsize=32)
def _decomposition(kernel: str, scale: int, length: int) -> tuple[Tensor, Tensor]:
    """Left singular vectors (columns) and singular values of the matrix of an axis, float64."""
    matrix = _matrix(kernel, scale, length).to_dense()
    power, vectors = torch.linalg.eigh(matrix @ matrix.t())
    return vectors, power.clamp(min=0).sqrt()


def _apply(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Multiply a sparse or dense matrix along one axis."""
    moved = x.movedim(axis, 0)
    flat = moved.reshape(moved.shape[0], -1)
    made = torch.sparse.mm(matrix, flat) if matrix.is_sparse else matrix @ flat
    return made.reshape(-1, *moved.shape[1:]).movedim(0, axis)
