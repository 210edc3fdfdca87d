"""Transformer: pre-norm blocks with rotary positions over up to three axes, and a cached prefix."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

AXES = 3  # positions are (depth, row, column); sequences use the last axis


class Rotary(nn.Module):
    """Axial rotary positions: Su et al. (2021), with the pairs of a head divided among the axes (1 : 1 : 2)."""

    def __init__(self, head_dim: int, base: float = 1000.0):
        super().__init__()
        pairs = head_dim // 2
        shares = (pairs // 4, pairs // 4, pairs - 2 * (pairs // 4))
        frequencies = torch.zeros(AXES, pairs)
        start = 0
        for axis, count in enumerate(shares):
            frequencies[axis, start : start + count] = base ** (-torch.arange(count) / count)
            start += count
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, positions: Float[Tensor, "*L 3"]) -> tuple[Tensor, Tensor]:
        """Cosine and sine `[*L, pairs]` of the angles at these positions."""
        angles = positions @ self.frequencies
        return angles.cos(), angles.sin()


def rotate(x: Float[Tensor, "B heads L d"], rotary: tuple[Tensor, Tensor]) -> Float[Tensor, "B heads L d"]:
    """Rotate each pair (element of the first half, element of the second half) by its angle."""
    cos, sin = (part.to(x.dtype) for part in rotary)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of the given tokens in each layer, and their mask `[B, P]`, True = real (None = all real)."""

    keys: list[Tensor]
    values: list[Tensor]
    mask: Bool[Tensor, "B P"] | None
    _joined: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    def join(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Concatenate keys and values of the given tokens with these.

        Without gradients the given ones are copied only once, and the result is valid until the next call.
        """
        given = self.keys[layer].shape[2]
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return torch.cat([self.keys[layer], keys], dim=2), torch.cat([self.values[layer], values], dim=2)
        length = given + keys.shape[2]
        held = self._joined.get(layer)
        if held is None or held[0].shape[2] != length or held[0].dtype != keys.dtype:
            held = torch.cat([self.keys[layer], keys], dim=2), torch.cat([self.values[layer], values], dim=2)
            self._joined[layer] = held
        else:
            held[0][:, :, given:] = keys
            held[1][:, :, given:] = values
        return held

    def repeat(self, times: int) -> "PrefixCache":
        """Repeat every item `times` times in a row."""
        return self._each(lambda one: one.repeat_interleave(times, dim=0))

    def select(self, items: Int[Tensor, " N"]) -> "PrefixCache":
        """Cache of these items, in this order."""
        return self._each(lambda one: one[items])

    def _each(self, change: Callable[[Tensor], Tensor]) -> "PrefixCache":
        mask = None if self.mask is None else change(self.mask)
        return PrefixCache(list(map(change, self.keys)), list(map(change, self.values)), mask)


class Block(nn.Module):
    """Attention with RMS-normalised queries and keys, then SwiGLU (Shazeer, 2020), each with a residual connection."""

    def __init__(self, dim: int, heads: int, layers: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        hidden = (8 * dim // 3 + 31) // 32 * 32
        self.norm_attention = nn.RMSNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.norm_q = nn.RMSNorm(dim // heads)
        self.norm_k = nn.RMSNorm(dim // heads)
        self.out = nn.Linear(dim, dim, bias=False)
        self.norm_mlp = nn.RMSNorm(dim)
        self.gate_up = nn.Linear(dim, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)
        for linear in (self.qkv, self.gate_up):
            nn.init.normal_(linear.weight, std=dim**-0.5)
        for linear in (self.out, self.down):
            nn.init.normal_(linear.weight, std=(2 * layers * linear.in_features) ** -0.5)

    def project(self, x: Float[Tensor, "B L dim"], rotary: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values `[B, heads, L, dim / heads]`."""
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.norm_q(q.float()), self.norm_k(k.float())
        return rotate(q, rotary).to(v.dtype), rotate(k, rotary).to(v.dtype), v

    def attend(self, x: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Bool[Tensor, "B K"] | None) -> Tensor:
        """Attention and the feed-forward layer.

        `x` is `[B, L, dim]`; `q` `[B, heads, L, dim / heads]`, `k` and `v` have the length of all keys; `mask` is True
        for real keys.
        """
        allowed = None if mask is None else mask[:, None, None, :]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        gate, up = self.gate_up(self.norm_mlp(x)).chunk(2, dim=-1)
        return x + self.dropout(self.down(F.silu(gate) * up))


class Transformer(nn.Module):
    """Transformer in which given tokens attend to given tokens only, and targets to all tokens.

    The given part therefore does not depend on the targets, and is computed once and cached exactly.
    """

    def __init__(self, dim: int, layers: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.rotary = Rotary(dim // heads)
        self.blocks = nn.ModuleList(Block(dim, heads, layers, dropout) for _ in range(layers))
        self.norm = nn.RMSNorm(dim)

    def prefix(
        self, x: Float[Tensor, "B P dim"], positions: Float[Tensor, "P 3"], mask: Bool[Tensor, "B P"] | None
    ) -> PrefixCache:
        """Keys and values of the given tokens in every layer."""
        rotary = self.rotary(positions)
        keys, values = [], []
        for i, block in enumerate(self.blocks):
            q, k, v = block.project(x, rotary)
            keys.append(k)
            values.append(v)
            if i + 1 < len(self.blocks):
                x = block.attend(x, q, k, v, mask)
        return PrefixCache(keys, values, mask)

    def forward(
        self,
        x: Float[Tensor, "B L dim"],
        positions: Float[Tensor, "L 3"],
        mask: Bool[Tensor, "B L"] | None,
        prefix: PrefixCache,
    ) -> Float[Tensor, "B L dim"]:
        """Hidden states of the targets after the last norm."""
        rotary = self.rotary(positions)
        full = None
        if mask is not None or prefix.mask is not None:
            given = prefix.keys[0].new_ones(len(x), prefix.keys[0].shape[2], dtype=torch.bool)
            own = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask
            full = torch.cat([given if prefix.mask is None else prefix.mask, own], dim=1)
        for layer, block in enumerate(self.blocks):
            q, k, v = block.project(x, rotary)
            x = block.attend(x, q, *prefix.join(layer, k, v), full)
        return self.norm(x)
