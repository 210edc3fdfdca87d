"""Convolution operators in the frequency domain, for periodic signals."""

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.operators.operator import Operator, Spectrum
from vqfusion.errors import UserError

NOTHING = 1e-6  # gains below this fraction of the largest count as zero


class Fourier(Operator):
    """Circular convolution of x with a kernel: a product with `transfer` after a Fourier transform."""

    @abstractmethod
    def transfer(self, size: tuple[int, ...], like: Tensor) -> Tensor:
        """Complex or real gain of each frequency, `[*size]` in the order of `fftn`, Hermitian.

        `like` gives dtype and device.
        """

    def A(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return self._filtered(x, self.transfer(tuple(x.shape[2:]), x))

    def A_adjoint(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return self._filtered(y, self.transfer(tuple(y.shape[2:]), y).conj())

    def correction(
        self, residual: Float[Tensor, "B ..."], damping: float | Float[Tensor, "..."]
    ) -> Float[Tensor, "B C ..."]:
        gain = self.transfer(tuple(residual.shape[2:]), residual)
        power = gain.abs().square()
        seen = power > (NOTHING * float(gain.abs().max())) ** 2
        return self._filtered(residual, torch.where(seen, gain.conj() / (power + damping), 0))

    def first_guess(self, y: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return y

    def spectrum(self, shape: tuple[int, ...], like: Tensor) -> Spectrum:
        axes = tuple(range(-(len(shape) - 1), 0))
        gain = self.transfer(tuple(shape[1:]), like)
        values = gain.abs()
        seen = values > NOTHING * values.max()
        phase = torch.where(seen, gain.conj() / values.clamp(min=1e-300), 0)
        return Spectrum(
            torch.where(seen, values, 0),
            lambda x: torch.fft.fftn(x, dim=axes, norm="ortho"),
            lambda x: torch.fft.ifftn(x, dim=axes, norm="ortho").real,
            lambda y: phase * torch.fft.fftn(y, dim=axes, norm="ortho"),
        )

    def _filtered(self, x: Tensor, gain: Tensor) -> Tensor:
        axes = tuple(range(2, x.ndim))
        return torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * gain, dim=axes).real


class Blur(Fourier):
    """Circular convolution with a `kernel` `[*k]` of the rank of the signal, centred at `k // 2`."""

    kind: ClassVar[str] = "blur"

    def __init__(self, kernel: Float[Tensor, "..."], sigma: float | Tensor | None = 0.0):
        super().__init__(sigma)
        if not bool(torch.isfinite(kernel).all()) or not bool((kernel != 0).any()):
            raise UserError("a blur kernel must be finite and not all zero")
        self.kernel = kernel

    def check_rank(self, x: Tensor) -> None:
        if self.kernel.ndim != x.ndim - 2 or any(k > n for k, n in zip(self.kernel.shape, x.shape[2:], strict=True)):
            kernel, size = list(self.kernel.shape), list(x.shape[2:])
            raise UserError(f"a blur kernel {kernel} does not fit a signal {size}: same rank, and no larger")

    def transfer(self, size: tuple[int, ...], like: Tensor) -> Tensor:
        self.check_rank(like.new_empty(1, 1, *size))
        wide = like.new_zeros(size)
        wide[tuple(slice(0, k) for k in self.kernel.shape)] = self.kernel.to(like)
        return torch.fft.fftn(wide.roll([-(k // 2) for k in self.kernel.shape], tuple(range(len(size)))))


class BandLimit(Fourier):
    """Low-pass filter: removes frequencies above `cutoff`, a fraction of the Nyquist frequency in (0, 1]; radial."""

    kind: ClassVar[str] = "band_limit"

    def __init__(self, cutoff: float, sigma: float | Tensor | None = 0.0):
        super().__init__(sigma)
        if not 0 < cutoff <= 1:
            raise UserError(f"the cutoff is a share of the highest frequency in (0, 1], not {cutoff}")
        self.cutoff = cutoff

    def transfer(self, size: tuple[int, ...], like: Tensor) -> Tensor:
        axes = [torch.fft.fftfreq(n, device=like.device, dtype=like.dtype) * 2 for n in size]
        radius = sum(grid.square() for grid in torch.meshgrid(*axes, indexing="ij"))
        assert isinstance(radius, Tensor)
        return (radius.sqrt() <= self.cutoff + 1e-9).to(like)


def gaussian_kernel(width: float, rank: int = 2, radius: int | None = None) -> Float[Tensor, "..."]:
    """Gaussian kernel that sums to 1.

    Args:
        width: Standard deviation in elements.
        rank: Number of axes.
        radius: Elements to each side; three standard deviations by default.

    Returns:
        Kernel `[2 radius + 1, ...]`.
    """
    if not (width > 0 and math.isfinite(width)):
        raise UserError(f"the width of a blur must be a finite number > 0, not {width}")
    places = torch.arange(-(radius or math.ceil(3 * width)), (radius or math.ceil(3 * width)) + 1).double()
    line = (-0.5 * (places / width) ** 2).exp()
    kernel = line
    for _ in range(rank - 1):
        kernel = kernel[..., None] * line
    return kernel / kernel.sum()


def disk_kernel(radius: float) -> Float[Tensor, "K K"]:
    """Antialiased disk of `radius` pixels, which sums to 1: the blur of a lens out of focus."""
    if not (radius > 0 and math.isfinite(radius)):
        raise UserError(f"the radius of a disk must be a finite number > 0, not {radius}")
    reach, finer = math.ceil(radius), 9
    places = (torch.arange((2 * reach + 1) * finer).double() + 0.5) / finer - reach - 0.5
    inside = (places[:, None].square() + places.square() <= radius**2).double()
    kernel = inside.unfold(0, finer, finer).unfold(1, finer, finer).mean((2, 3))
    return kernel / kernel.sum()


def motion_kernel(length: int, angle: float) -> Float[Tensor, "K K"]:
    """Antialiased line of `length` pixels at `angle` (radians from the row), which sums to 1."""
    if length < 1:
        raise UserError(f"the length of a smear must be at least 1 pixel, not {length}")
    side = length // 2 * 2 + 1
    kernel = torch.zeros(side + 2, side + 2, dtype=torch.float64)
    for place in torch.linspace(-(length - 1) / 2, (length - 1) / 2, 8 * length, dtype=torch.float64).tolist():
        down, right = place * math.sin(angle) + (side + 1) / 2, place * math.cos(angle) + (side + 1) / 2
        i, j = int(down), int(right)
        for row, weight in ((i, 1 - (down - i)), (i + 1, down - i)):
            kernel[row, j] += weight * (1 - (right - j))
            kernel[row, j + 1] += weight * (right - j)
    return kernel / kernel.sum()
