"""U-Net denoiser of rank 1, 2 or 3."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.nn.blocks import CONVOLUTION, TRANSPOSED, convolution, cropped, extend_to_multiple, group_norm
from vqfusion.nn.embedding import TimeEmbedding
from vqfusion.nn.transformer import AXES, Block, Rotary

Given = Sequence[Tensor] | Tensor | None


class AdaptiveBlock(nn.Module):
    """Pre-activation residual block whose second norm is scaled and shifted by the time embedding.

    Ho et al. (2020) with the adaptive group normalisation of Dhariwal, Nichol (2021), section 3.1. It starts as the
    identity.
    """

    def __init__(self, rank: int, channels: int, time_dim: int):
        super().__init__()
        self.norm_in = group_norm(channels)
        self.conv_in = convolution(rank, channels, channels)
        self.norm_out = group_norm(channels)
        self.modulation = nn.Linear(time_dim, 2 * channels)
        self.conv_out = convolution(rank, channels, channels)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Float[Tensor, "B C ..."], time: Float[Tensor, "B T"]) -> Float[Tensor, "B C ..."]:
        """Output of the same shape as `x`, with the embedded time of each item."""
        hidden = self.norm_out(self.conv_in(F.silu(self.norm_in(x))))
        scale, shift = self.modulation(time).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, dim=1)
        return x + self.conv_out(F.silu(torch.addcmul(shift, hidden, 1 + scale)))


class Level(nn.Module):
    """Residual blocks at one resolution; each condition is added through its own linear map."""

    def __init__(self, rank: int, channels: int, depth: int, time_dim: int, given_channels: Sequence[int] = ()):
        super().__init__()
        self.given = nn.ModuleList(CONVOLUTION[rank](c, channels, 1, bias=False) for c in given_channels)
        self.blocks = nn.ModuleList(AdaptiveBlock(rank, channels, time_dim) for _ in range(depth))

    def forward(
        self, x: Float[Tensor, "B C ..."], time: Float[Tensor, "B T"], grids: Sequence[Tensor] = ()
    ) -> Float[Tensor, "B C ..."]:
        """Output of the same shape as `x`; `grids` are the conditions."""
        for linear, grid in zip(self.given, grids, strict=False):  # `grids` is empty where nothing is given
            x = x + fit_grid(grid, x.shape[2:], linear)
        for block in self.blocks:
            x = block(x, time)
        return x


class GridAttention(nn.Module):
    """Transformer blocks over all positions of a grid, with axial rotary positions."""

    def __init__(self, channels: int, layers: int, head_dim: int = 32):
        super().__init__()
        heads = count_heads(channels, head_dim)
        self.rotary = Rotary(channels // heads)
        self.blocks = nn.ModuleList(Block(channels, heads, layers) for _ in range(layers))

    def forward(self, x: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        """Output of the same shape as `x`."""
        if not len(self.blocks):
            return x
        rotary = self.rotary(grid_positions(x.shape[2:], x.device))
        tokens = x.flatten(2).transpose(1, 2).to(self.rotary.frequencies.dtype)  # may be bfloat16 under autocast
        for block in self.blocks:
            tokens = block.attend(tokens, *block.project(tokens, rotary), None)
        return tokens.transpose(1, 2).reshape(x.shape)


class UNet(nn.Module):
    """U-Net denoiser: `[B, channels, *size]`, times `[B]` and conditions to `[B, out_channels, *size]`, of any size.

    Level i has `width * multipliers[i]` channels, `depths[i]` blocks on the way down and again on the way up, and half
    the resolution of the level before; skip connections are added. Attention runs at the coarsest level. Sizes that are
    not multiples of `downsampling` are padded inside by repeating the edge. The last convolution starts at zero.

    Conditions are grids `[B, given_channels[j], *grid_j]`, one for each entry of `given_channels`; None equals zeros.
    Each enters every level through its own linear map, repeated or averaged to the resolution of the level. A grid of
    the size of x is padded with it; a coarser one is assumed to cover the padded size.

    Args:
        channels: Channels of x.
        width: Channels of the first level, before its multiplier.
        multipliers: Channels of each level, relative to `width`.
        depths: Blocks of each level; by default 1, and 2 at the coarsest.
        rank: Number of axes beside channels.
        out_channels: Channels of the output; `channels` by default.
        given_channels: Channels of each condition.
        attention_layers: Transformer blocks at the coarsest level.
    """

    def __init__(
        self,
        channels: int,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 4),
        depths: Sequence[int] | None = None,
        rank: int = 2,
        out_channels: int | None = None,
        given_channels: Sequence[int] = (),
        attention_layers: int = 1,
    ):
        super().__init__()
        depths = tuple(depths) if depths is not None else (1,) * (len(multipliers) - 1) + (2,)
        if len(depths) != len(multipliers):
            raise ValueError(f"depths has {len(depths)} entries and multipliers {len(multipliers)}; give one per level")
        widths = [width * m for m in multipliers]
        time_dim = 4 * width
        self.downsampling = 2 ** (len(widths) - 1)
        self.given_channels = tuple(given_channels)
        self.time = TimeEmbedding(time_dim)
        self.first = convolution(rank, channels, widths[0])
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.coarser, self.finer = nn.ModuleList(), nn.ModuleList()
        for i, (level_width, depth) in enumerate(zip(widths, depths, strict=True)):
            if i:
                self.coarser.append(CONVOLUTION[rank](widths[i - 1], level_width, 2, 2))
                self.finer.append(TRANSPOSED[rank](level_width, widths[i - 1], 2, 2))
            self.down.append(Level(rank, level_width, depth, time_dim, self.given_channels))
            self.up.append(Level(rank, level_width, depth, time_dim))
        self.attention = GridAttention(widths[-1], attention_layers)
        self.norm = group_norm(widths[0])
        self.last = convolution(rank, widths[0], out_channels or channels)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "B C ..."], t: Float[Tensor, " B"], given: Given = None) -> Tensor:
        """Output for noisy `x` `[B, channels, *size]` at times `t` `[B]`, 0 = data and 1 = noise."""
        size = x.shape[2:]
        grids = check_given(given, self.given_channels)
        grids = [extend_to_multiple(g, self.downsampling) if g.shape[2:] == size else g for g in grids]
        x = self.first(extend_to_multiple(x, self.downsampling))
        time = self.time(t)
        kept = []
        for i, level in enumerate(self.down):
            x = level(self.coarser[i - 1](x) if i else x, time, grids)
            kept.append(x)
        x = self.attention(kept.pop())
        for i in reversed(range(len(self.up))):
            x = self.up[i](x, time)
            if i:
                x = self.finer[i - 1](x) + kept.pop()
        x = self.last(F.silu(self.norm(x)))
        return cropped(x, size)


def count_heads(dim: int, head_dim: int) -> int:
    """Number of heads of width near `head_dim` that divides `dim` into parts of even width."""
    return next(h for h in range(max(1, dim // head_dim), 0, -1) if dim % (2 * h) == 0 or h == 1)


def grid_positions(grid: Sequence[int], device: torch.device) -> Float[Tensor, "L 3"]:
    """Coordinates (depth, row, column) of all positions of a grid of up to three axes, in row-major order."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in (*[1] * (AXES - len(grid)), *grid)]
    return torch.cartesian_prod(*axes)


def fit_grid(grid: Float[Tensor, "B C ..."], size: Sequence[int], linear: nn.Module) -> Float[Tensor, "B D ..."]:
    """Linear map of a grid, resized by averaging or repetition; the map runs at the coarser resolution."""
    if math.prod(size) > math.prod(grid.shape[2:]):
        return F.interpolate(linear(grid), tuple(size), mode="area")
    return linear(F.interpolate(grid, tuple(size), mode="area"))


def check_given(given: Given, channels: tuple[int, ...]) -> list[Tensor]:
    """The conditions as a list, empty for None; ValueError where their channels do not fit the network."""
    if given is None:
        return []
    grids = [given] if isinstance(given, Tensor) else list(given)
    found = tuple(grid.shape[1] for grid in grids)
    if found != channels:
        raise ValueError(f"the network takes conditions of {channels} channels, not {found}")
    return grids
