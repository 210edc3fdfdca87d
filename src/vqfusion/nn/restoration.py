"""A fast denoising network without normalisation, whose outputs depend on a bounded neighbourhood only."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.nn.blocks import CONVOLUTION
from vqfusion.nn.windows import box_mean

FILL_REACH = 16  # positions to each side


class ScaleFreeBlock(nn.Module):
    """x + conv(relu(conv(x))) without biases and norms; it starts as the identity.

    The residual block of Lim et al. (2017), without biases after Mohan et al. (2020). The rectifier has the slope
    `leak` for negative values, because without it a channel that is never positive has no gradient.
    """

    def __init__(self, rank: int, channels: int, leak: float = 0.0):
        super().__init__()
        self.leak = leak
        self.conv_in = _convolution(rank, channels, channels, 3)
        self.conv_out = _convolution(rank, channels, channels, 3)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Output of the same shape as `x`."""
        inner = self.conv_in(x)
        return x + self.conv_out(F.leaky_relu(inner, self.leak) if self.leak else torch.relu(inner))


class RestorationNet(nn.Module):
    """Predicts the noise in noisy data `[B, channels, *size]` with known or unknown noise levels, for rank 1, 2 or 3.

    Blocks of `fold` positions along each axis become channels first (Zhang, Zuo, Zhang, 2018, "FFDNet"), so that
    convolutions run at fewer positions. A U-Net follows: level i has `widths[i]` channels, `depths[i]` blocks on the
    way down and again on the way up, and half the resolution of the level before; skip connections are added. The noise
    level, one for each item or one for each value in the units of the data, is folded like the data and is more input
    channels; 0 means unknown. The last convolution starts at zero. Weights that were stored with one channel for the
    level are spread over all of its channels on loading.

    There are no biases, so that net(a x, a sigma) = a net(x, sigma) for a > 0 (Mohan et al., 2020), and no norms, so
    that a tile that starts at a multiple of `multiple` and has a margin of `receptive_radius` gives the same result as
    the whole. Every axis of the input must be a multiple of `multiple`.

    Args:
        rank: Number of axes beside channels.
        channels: Channels of the data.
        widths: Channels at each level.
        depths: Blocks at each level.
        fold: Side of the blocks of positions that become channels.
        leak: Slope of the rectifiers below zero.
    """

    def __init__(
        self,
        rank: int,
        channels: int,
        widths: Sequence[int] = (64, 96, 128),
        depths: Sequence[int] = (2, 2, 3),
        fold: int = 2,
        leak: float = 0.0,
    ):
        super().__init__()
        if len(depths) != len(widths):
            raise ValueError(f"depths has {len(depths)} entries and widths {len(widths)}; give one per level")
        self.fold, self.depths = fold, tuple(depths)
        self.multiple = fold * 2 ** (len(widths) - 1)
        folded = channels * fold**rank
        self.first = _convolution(rank, 2 * folded, widths[0], 3)
        self.register_load_state_dict_pre_hook(_spread_level)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.coarser, self.finer = nn.ModuleList(), nn.ModuleList()
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if i:
                self.coarser.append(_convolution(rank, widths[i - 1] * 2**rank, width, 1))
                self.finer.append(_convolution(rank, width, widths[i - 1] * 2**rank, 1))
            self.down.append(nn.Sequential(*(ScaleFreeBlock(rank, width, leak) for _ in range(depth))))
            self.up.append(nn.Sequential(*(ScaleFreeBlock(rank, width, leak) for _ in range(depth))))
        self.last = _convolution(rank, widths[0], folded, 3)
        nn.init.zeros_(self.last.weight)

    def forward(
        self, x: Float[Tensor, "B C ..."], sigma: Float[Tensor, " B"] | Float[Tensor, "B D ..."]
    ) -> Float[Tensor, "B C ..."]:
        """Noise in x `[B, C, *size]`; sigma is `[B]` or a map `[B, 1 or C, *size]`."""
        level = sigma.to(x.dtype).reshape(*sigma.shape, *[1] * (x.ndim - sigma.ndim)).expand_as(x)
        x = self.first(torch.cat([fold_positions(x, self.fold), fold_positions(level, self.fold)], dim=1))
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


def _spread_level(network: RestorationNet, tensors: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Convert stored weights with one input channel for the level to one for each value, with the same result."""
    first = network.first.weight
    assert isinstance(first, Tensor)
    name, wanted = f"{prefix}first.weight", first.shape[1]
    weight = tensors.get(name)
    if weight is not None and weight.shape[1] == wanted // 2 + 1:
        level = weight[:, -1:] / (wanted // 2)
        tensors[name] = torch.cat([weight[:, :-1], *[level] * (wanted // 2)], dim=1)


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


def filled(x: Float[Tensor, "B C ..."], lost: Bool[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
    """Fill each missing value with the mean of the known values in the smallest box around it that has any.

    Boxes reach 1, 2, 4, ... up to `FILL_REACH` positions to each side; values without any become 0. The result is
    proportional to the data.
    """
    seen = (~lost).to(x.dtype)
    known, reach, x = x.masked_fill(lost, 0.0), 1, x.masked_fill(lost, 0.0)
    while reach <= FILL_REACH and bool(lost.any()):
        share = box_mean(seen, reach)
        found = lost & (share > 1e-6)
        x = torch.where(found, box_mean(known, reach) / share.clamp(min=1e-6), x)
        lost, reach = lost & ~found, 2 * reach
    return x


def _convolution(rank: int, channels_in: int, channels_out: int, kernel: int) -> nn.Module:
    """Convolution with "same" padding, no bias, and weights that keep the variance through a ReLU (He et al., 2015)."""
    conv = CONVOLUTION[rank](channels_in, channels_out, kernel, padding=kernel // 2, bias=False)
    gain = 2.0 if kernel > 1 else 1.0
    nn.init.normal_(conv.weight, std=math.sqrt(gain / (channels_in * kernel**rank)))
    return conv
