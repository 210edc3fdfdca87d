"""Sound of which only a part of the spectrogram is known."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.operators.operator import Operator
from vqfusion.errors import UserError


class STFTMask(Operator):
    """Short-time Fourier transform `[B, C, F, N, 2]` (real and imaginary part) where `seen` `[F, N]` is True.

    F = window / 2 + 1 frequencies in N = `frames(length, window, hop)` frames with a tight Hann window: the full
    transform preserves energy, so that its adjoint is its inverse. Frames extend beyond both ends of the sound.

    Args:
        seen: Known part of the spectrogram.
        length: Length of the sound in samples.
        window: Window in samples, even.
        hop: Hop in samples, at most half the window.
        sigma: Noise level of the spectrogram.
    """

    kind: ClassVar[str] = "stft_mask"
    ranks: ClassVar[tuple[int, ...]] = (1,)
    shows_noise: ClassVar[bool] = False

    def __init__(
        self,
        seen: Bool[Tensor, "F N"],
        length: int,
        window: int = 512,
        hop: int = 128,
        sigma: float | Tensor | None = 0.0,
    ):
        super().__init__(sigma)
        if not (1 <= hop <= window // 2 and window % 2 == 0):
            raise UserError(f"the window must be even and the hop at most half of it, not {window} and {hop}")
        expected = (window // 2 + 1, frames(length, window, hop))
        if tuple(seen.shape) != expected:
            raise UserError(f"the mask of the spectrogram measures {list(seen.shape)} and must be {list(expected)}")
        if not bool(seen.any()):
            raise UserError("the mask hides everything: there is nothing to restore from")
        self.seen, self.length, self.window, self.hop = seen, length, window, hop

    def signal_shape(self, y: Float[Tensor, "B ..."]) -> tuple[int, ...]:
        if tuple(y.shape[2:]) != (*self.seen.shape, 2):
            raise UserError(f"the spectrogram measures {list(y.shape[2:])} and must be {[*self.seen.shape, 2]}")
        return (y.shape[1], self.length)

    def A(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C F N 2"]:
        if x.shape[-1] != self.length:
            raise UserError(f"the sound has {x.shape[-1]} samples and the operator is made for {self.length}")
        spectrum = torch.fft.rfft(self._framed(x) * self._tight(x), norm="ortho") * self._scale(x)
        return torch.view_as_real(spectrum.transpose(-1, -2)) * self.seen.to(x)[..., None]

    def A_adjoint(self, y: Float[Tensor, "B C F N 2"]) -> Float[Tensor, "B C T"]:
        masked = torch.view_as_complex((y * self.seen.to(y)[..., None]).contiguous()).transpose(-1, -2)
        pieces = torch.fft.irfft(masked / self._scale(y), n=self.window, norm="ortho") * self._tight(y)
        flat = pieces.flatten(0, 1).transpose(1, 2)
        total = (flat.shape[-1] - 1) * self.hop + self.window
        summed = F.fold(flat, (1, total), (1, self.window), stride=(1, self.hop))
        start = self.window - self.hop
        return summed.reshape(*y.shape[:2], total)[..., start : start + self.length]

    def _framed(self, x: Tensor) -> Tensor:
        total = (self.seen.shape[1] - 1) * self.hop + self.window
        start = self.window - self.hop
        return F.pad(x, (start, total - start - self.length)).unfold(-1, self.window, self.hop)

    def _tight(self, like: Tensor) -> Tensor:
        """Tight window: w / sqrt(sum over frames of w^2), equal in all frames where the hop divides the window."""
        window = torch.hann_window(self.window, dtype=like.dtype, device=like.device)
        total = (self.seen.shape[1] - 1) * self.hop + self.window
        squares = window.square()[None, :, None].expand(1, self.window, self.seen.shape[1])
        overlap = F.fold(squares, (1, total), (1, self.window), stride=(1, self.hop)).reshape(total)
        return window / overlap.unfold(0, self.window, self.hop).clamp(min=1e-8).sqrt()

    def _scale(self, like: Tensor) -> Tensor:
        """Factor sqrt(2) of the inner frequencies, each of which stands for two of the full transform."""
        scale = like.new_full((self.window // 2 + 1,), 2**0.5)
        scale[0] = scale[-1] = 1.0
        return scale


def frames(length: int, window: int, hop: int) -> int:
    """Number of frames that cover every sample of a sound equally often."""
    return -(-(length + window - hop) // hop)
