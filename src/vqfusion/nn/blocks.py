"""N-dimensional building blocks: one implementation for rank 1 (sound), 2 (pictures) and 3 (volumes)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def convolution(rank: int, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """Convolution over `rank` axes with "same" padding; arguments as in `torch.nn.Conv2d`."""
    return CONVOLUTION[rank](channels_in, channels_out, kernel, stride, padding=(kernel - 1) // 2)


def downsample(rank: int, channels_in: int, channels_out: int) -> nn.Module:
    """Strided convolution that halves each axis."""
    return CONVOLUTION[rank](channels_in, channels_out, 4, 2, padding=1)


def upsample(rank: int, channels_in: int, channels_out: int) -> nn.Module:
    """Transposed convolution that doubles each axis."""
    return TRANSPOSED[rank](channels_in, channels_out, 4, 2, padding=1)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu, He, 2018) with up to 8 groups of at least 4 channels."""
    groups = next(g for g in (8, 4, 2, 1) if channels % g == 0 and channels // g >= 4 or g == 1)
    return nn.GroupNorm(groups, channels)


def extend_to_multiple(x: Float[Tensor, "B C ..."], multiple: int) -> Float[Tensor, "B C ..."]:
    """Pad every axis at its end to the next multiple, by repeating the edge."""
    extra = [-n % multiple for n in x.shape[2:]]
    if not any(extra):
        return x
    return F.pad(x, [pad for n in reversed(extra) for pad in (0, n)], mode="replicate")


class ResidualBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))) with constant width: He et al. (2016), pre-activation form."""

    def __init__(self, rank: int, channels: int, dilation: int = 1):
        super().__init__()
        self.norm_in = group_norm(channels)
        self.conv_in = CONVOLUTION[rank](channels, channels, 3, padding=dilation, dilation=dilation)
        self.norm_out = group_norm(channels)
        self.conv_out = CONVOLUTION[rank](channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Output for `x` `[B, channels, *size]`, of the same shape."""
        hidden = self.conv_in(torch.nn.functional.silu(self.norm_in(x)))
        return x + self.conv_out(torch.nn.functional.silu(self.norm_out(hidden)))


def cropped(x: Float[Tensor, "B C ..."], size: Sequence[int]) -> Float[Tensor, "B C ..."]:
    """The first `size` positions along the axes of a signal."""
    for axis, length in enumerate(size, 2):
        x = x.narrow(axis, 0, length)
    return x
