"""Convolutions over grids of tokens, before and after several tokens are merged into one position."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.nn.blocks import convolution


class LocalBlock(nn.Module):
    """x + conv(silu(conv(norm(x)))) over `[B, width, *grid]`, with each token normalised separately.

    `real` `[B, 1, *grid]` is 1 for real tokens and 0 for padding, which enters the convolutions as zeros.
    """

    def __init__(self, rank: int, width: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, *[1] * rank))
        self.conv_in = convolution(rank, width, width)
        self.conv_out = convolution(rank, width, width)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Float[Tensor, "B width ..."], real: Tensor | None) -> Float[Tensor, "B width ..."]:
        """Output of the same shape as `x`; `real` is `[B, 1, *grid]`, None where all tokens are real."""
        hidden = x * (x.float().square().mean(dim=1, keepdim=True) + 1e-6).rsqrt() * self.scale
        hidden = F.silu(self.conv_in(hidden if real is None else hidden * real))
        return x + self.conv_out(hidden if real is None else hidden * real)


class LocalLayers(nn.Module):
    """A sequence of local blocks over tokens `[B, *grid, width]`; `mask` `[B, *grid]`, True = real."""

    def __init__(self, rank: int, width: int, depth: int):
        super().__init__()
        self.blocks = nn.ModuleList(LocalBlock(rank, width) for _ in range(depth))

    def forward(
        self, x: Float[Tensor, "B ... width"], mask: Bool[Tensor, "B ..."] | None
    ) -> Float[Tensor, "B ... width"]:
        """Output of the same shape as `x`."""
        if not len(self.blocks):
            return x
        real = None if mask is None else mask[:, None].to(x.dtype)
        x = x.movedim(-1, 1)
        for block in self.blocks:
            x = block(x, real)
        return x.movedim(1, -1)
