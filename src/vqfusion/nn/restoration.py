"""A fast denoising network without normalisation, whose outputs depend on a bounded neighbourhood only."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.nn.blocks import CONVOLUTION


class ScaleFreeBlock(nn.Module):
    """x + conv(relu(conv(x))) without biases and norms; it starts as the identity.

    The residual block of Lim et al. (2017), without biases after Mohan et al. (2020).
    """

    def __init__(self, rank: int, channels: int):
        super().__init__()
        self.conv_in = _convolution(rank, channels, channels, 3)
        self.conv_out = _convolution(rank, channels, channels, 3)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        return x + self.conv_out(torch.relu(self.conv_in(x)))


class RestorationNet(nn.Module):
    """Predicts the noise in noisy data `[B, channels, *size]` with noise levels `[B]`, for rank 1, 2 or 3.

    Blocks of `fold` positions along each axis become channels first (Zhang, Zuo, Zhang, 2018, "FFDNet"), so that
    convolutions run at fewer positions. A U-Net follows: level i has `widths[i]` channels, `depths[i]` blocks on the
    way down and again on the way up, and half the resolution of the level before; skip connections are added. The noise
    level is one more input channel, in the units of the data; 0 means unknown. The last convolution starts at zero.

    There are no biases, so that net(a x, a sigma) = a net(x, sigma) for a > 0 (Mohan et al., 2020), and no norms, so
    that a tile that starts at a multiple of `multiple` and has a margin of `receptive_radius` gives the same result as
    the whole. Every axis of the input must be a multiple of `multiple`.

    Args:
        rank: Number of axes beside channels.
        channels: Channels of the data.
        widths: Channels at each level.
        depths: Blocks at each level.
        fold: Side of the blocks of positions that become channels.
    """

    def __init__(
        self,
        rank: int,
        channels: int,
        widths: Sequence[int] = (64, 96, 128),
        depths: Sequence[int] = (2, 2, 3),
        fold: int = 2,
    ):
        super().__init__()
        if len(depths) != len(widths):
            raise ValueError(f"depths has {len(depths)} entries and widths {len(widths)}; give one per level")
        self.fold, self.depths = fold, tuple(depths)
        self.multiple = fold * 2 ** (len(widths) - 1)
        folded = channels * fold**rank
        self.first = _convolution(rank, folded + 1, widths[0], 3)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.coarser, self.finer = nn.ModuleList(), nn.ModuleList()
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if i:
                self.coarser.append(_convolution(rank, widths[i - 1] * 2**rank, width, 1))
                self.finer.append(_convolution(rank, width, widths[i - 1] * 2**rank, 1))
            self.down.append(nn.Sequential(*(ScaleFreeBlock(rank, width) for _ in range(depth))))
            self.up.append(nn.Sequential(*(ScaleFreeBlock(rank, width) for _ in range(depth))))
        self.last = _convolution(rank, widths[0], folded, 3)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Float[Tensor, "B C ..."], sigma: Float[Tensor, " B"]) -> Float[Tensor, "B C ..."]:
        x = fold_positions(x, self.fold)
        level = sigma.to(x.dtype).reshape(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
        x = self.first(torch.cat([x, level], dim=1))
        kept = []
        for i, blocks in enumerate(self.down):
            x = blocks(self.coarser[i - 1](fold_positions(x, 2)) if i else x)
            kept.append(x)
        x = kept.pop()
        for i in reversed(range(len(self.up))):
            x = self.up[i](x)
            if i:
                x = unfold_positions(self.finer[i - 1](x), 2) + kept.pop()
        return unfold_positions(self.last(x), self.fold)

    @property
    def receptive_radius(self) -> int:
        """Exact radius of the receptive field, in positions.

        Follows the longest path, through the coarsest level, from each position within one `multiple`.
        """
        radius = 0
        for place in range(self.multiple):
            low = high = place // self.fold
            low, high = low - 1, high + 1  # the last convolution
            for i, depth in enumerate(self.depths):
                if i:
                    low, high = low // 2, high // 2
                low, high = low - 2 * depth, high + 2 * depth
            for i, depth in reversed(list(enumerate(self.depths))):
                low, high = low - 2 * depth, high + 2 * depth
                if i:
                    low, high = 2 * low, 2 * high + 1
            low, high = (low - 1) * self.fold, (high + 2) * self.fold - 1
            radius = max(radius, place - low, high - place)
        return radius


def fold_positions(x: Float[Tensor, "B C ..."], factor: int) -> Float[Tensor, "B D ..."]:
    """Turn blocks of `factor` positions along each axis into channels; every axis is divided by `factor`."""
    if factor == 1:
        return x
    batch, channels, *size = x.shape
    rank = len(size)
    x = x.reshape(batch, channels, *(n for length in size for n in (length // factor, factor)))
    inner = [3 + 2 * axis for axis in range(rank)]
    outer = [2 + 2 * axis for axis in range(rank)]
    return x.permute(0, 1, *inner, *outer).reshape(batch, channels * factor**rank, *(n // factor for n in size))


def unfold_positions(x: Float[Tensor, "B D ..."], factor: int) -> Float[Tensor, "B C ..."]:
    """Inverse of `fold_positions`."""
    if factor == 1:
        return x
    batch, folded, *size = x.shape
    rank = len(size)
    x = x.reshape(batch, folded // factor**rank, *[factor] * rank, *size)
    order = [n for axis in range(rank) for n in (2 + rank + axis, 2 + axis)]
    return x.permute(0, 1, *order).reshape(batch, folded // factor**rank, *(n * factor for n in size))


def _convolution(rank: int, channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    """Convolution with "same" padding, no bias, and weights that keep the variance through a ReLU (He et al., 2015)."""
    conv = CONVOLUTION[rank](channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
    gain = 2.0 if kernel > 1 else 1.0
    nn.init.normal_(conv.weight, std=math.sqrt(gain / (channels_in * kernel**rank)))
    return conv
