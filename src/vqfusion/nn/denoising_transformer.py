"""Transformer denoiser over patches, of rank 1, 2 or 3."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.nn.blocks import CONVOLUTION, TRANSPOSED, extend_to_multiple
from vqfusion.nn.embedding import TimeEmbedding
from vqfusion.nn.transformer import Block, Rotary, rotate
from vqfusion.nn.unet import Given, check_given, count_heads, grid_positions


class AdaptiveTransformerBlock(Block):
    """Transformer block whose norms are scaled and shifted, and whose outputs are gated, by the time embedding.

    Peebles, Xie (2023), "adaLN-Zero": the gates start at zero, so that the block starts as the identity.
    """

    def __init__(self, dim: int, heads: int, layers: int, time_dim: int):
        super().__init__(dim, heads, layers)
        self.modulation = nn.Linear(time_dim, 6 * dim)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "B L dim"], time: Float[Tensor, "B T"], rotary: tuple[Tensor, Tensor]
    ) -> Float[Tensor, "B L dim"]:
        """Output for tokens `x`, with the embedded time of each item and rotary angles."""
        scale_a, shift_a, gate_a, scale_m, shift_m, gate_m = self.modulation(time)[:, None].chunk(6, dim=-1)
        hidden = torch.addcmul(shift_a, self.norm_attention(x), 1 + scale_a)
        q, k, v = self.qkv(hidden).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = (rotate(norm(part.float()), rotary).to(v.dtype) for norm, part in ((self.norm_q, q), (self.norm_k, k)))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate_a * self.out(attended)
        gate, up = self.gate_up(torch.addcmul(shift_m, self.norm_mlp(x), 1 + scale_m)).chunk(2, dim=-1)
        return x + gate_m * self.down(F.silu(gate) * up)


class DenoisingTransformer(nn.Module):
    """Transformer denoiser: `[B, channels, *size]`, times `[B]` and conditions to `[B, out_channels, *size]`.

    Conditions (grids `[B, given_channels[j], *grid_j]`, see `UNet`) are resized to the size of x and concatenated with
    it; None equals zeros. Sizes that are not multiples of `patch` are padded inside by repeating the edge. The output
    is zero at initialisation.

    Args:
        channels: Channels of x.
        width: Width of the transformer.
        layers: Number of blocks.
        patch: Side of a patch along each axis; each patch is one token.
        rank: Number of axes beside channels.
        out_channels: Channels of the output; `channels` by default.
        given_channels: Channels of each condition.
        head_dim: Approximate width of an attention head.
    """

    def __init__(
        self,
        channels: int,
        width: int = 128,
        layers: int = 4,
        patch: int = 2,
        rank: int = 2,
        out_channels: int | None = None,
        given_channels: Sequence[int] = (),
        head_dim: int = 32,
    ):
        super().__init__()
        heads = count_heads(width, head_dim)
        self.patch = patch
        self.given_channels = tuple(given_channels)
        self.time = TimeEmbedding(width)
        self.first = CONVOLUTION[rank](channels + sum(self.given_channels), width, patch, patch)
        self.rotary = Rotary(width // heads)
        self.blocks = nn.ModuleList(AdaptiveTransformerBlock(width, heads, layers, width) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.last = TRANSPOSED[rank](width, out_channels or channels, patch, patch)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "B C ..."], t: Float[Tensor, " B"], given: Given = None) -> Tensor:
        """Output for noisy `x` `[B, channels, *size]` at times `t` `[B]`, 0 = data and 1 = noise."""
        size = x.shape[2:]
        grids = check_given(given, self.given_channels)
        if self.given_channels and not grids:
            grids = [x.new_zeros(len(x), sum(self.given_channels), *size)]
        x = torch.cat([x, *(F.interpolate(grid, tuple(size), mode="area").to(x.dtype) for grid in grids)], dim=1)
        hidden = self.first(extend_to_multiple(x, self.patch))
        rotary = self.rotary(grid_positions(hidden.shape[2:], x.device))
        tokens, time = hidden.flatten(2).transpose(1, 2).to(self.norm.weight.dtype), self.time(t)
        for block in self.blocks:
            tokens = block(tokens, time, rotary)
        hidden = self.norm(tokens).transpose(1, 2).reshape(hidden.shape)
        return self.last(hidden)[(..., *(slice(n) for n in size))]
