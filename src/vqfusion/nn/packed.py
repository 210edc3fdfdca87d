"""The transformer over packed rows: several sequences in a row, attending within themselves, in few passes over memory.

The forward and backward passes of normalisation, rotation and SwiGLU are written out, because automatic differentiation
of their parts reads and writes the activations two to three times as often.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from vqfusion.nn.transformer import Block, Transformer

LONG = 256  # tokens of a row from which attention without a matrix of scores is used


class _Normalise(Function):
    """x / sqrt(mean of x^2 + eps) over the last axis."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = (scale.square() / x.shape[-1] + eps).rsqrt()
        out = x * scale
        ctx.save_for_backward(out, scale)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        out, scale = ctx.saved_tensors
        along = (grad * out).mean(dim=-1, keepdim=True)
        return torch.addcmul(grad, out, along, value=-1).mul_(scale), None


class _Rotate(Function):
    """Rotation of the pairs (element of the first half, element of the second half), as `nn.transformer.rotate`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, sin, -1), None, None


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    out, half = torch.empty_like(x, memory_format=torch.contiguous_format), x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    torch.mul(a, cos, out=out[..., :half]).addcmul_(b, sin, value=-sign)
    torch.mul(b, cos, out=out[..., half:]).addcmul_(a, sin, value=sign)
    return out


class _SwiGLU(Function):
    """silu(first half) * second half."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        gate, up = both.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        out = torch.empty_like(both)
        first, second = out.chunk(2, dim=-1)
        torch.mul(grad, F.silu(gate), out=second)
        first.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        return out


def packed_states(
    transformer: Transformer,
    x: Float[Tensor, "R L dim"],
    positions: Float[Tensor, "R L 3"],
    allowed: Bool[Tensor, "R L L"],
    chosen: Int[Tensor, " N"],
) -> Float[Tensor, "N dim"]:
    """States after the last norm of some tokens of packed rows.

    Args:
        transformer: The transformer.
        x: Embedded tokens.
        positions: Their positions.
        allowed: Which keys each query attends to, `allowed[row, query, key]`; at least one each.
        chosen: Indices into the flattened rows of the tokens that are wanted.

    Returns:
        The states.
    """
    cos, sin = (part[:, :, None, None].to(x.dtype) for part in transformer.rotary(positions))
    bias = torch.zeros(allowed.shape, dtype=x.dtype, device=x.device).masked_fill_(~allowed, -torch.inf)[:, None]
    blocks = list(transformer.blocks)
    for i, block in enumerate(blocks):
        assert isinstance(block, Block)
        q, k, v = _project(block, x, cos, sin)
        if x.shape[1] > LONG and x.device.type == "cpu":
            with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        mixed = mixed.transpose(1, 2).flatten(2)
        if i + 1 == len(blocks):  # nothing else is read after this
            x, mixed = x.flatten(0, 1)[chosen], mixed.flatten(0, 1)[chosen]
        x = x + block.dropout(block.out(mixed))
        both = F.linear(_normalise(x), block.gate_up.weight * block.norm_mlp.weight)
        x = x + block.dropout(block.down(_SwiGLU.apply(both)))
    return _normalise(x) * transformer.norm.weight


def _project(block: Block, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values `[R, heads, L, dim / heads]`."""
    weight = block.qkv.weight * block.norm_attention.weight
    together = F.linear(_normalise(x), weight).unflatten(-1, (3, block.heads, -1))
    qk, v = together.split((2, 1), dim=2)
    scale = torch.stack([block.norm_q.weight, block.norm_k.weight])[:, None]
    qk = _Rotate.apply(_normalise(qk.to(cos.dtype)) * scale, cos, sin).to(v.dtype)
    q, k = qk.unbind(dim=2)
    return q.transpose(1, 2), k.transpose(1, 2), v[:, :, 0].transpose(1, 2)


def _normalise(x: Tensor) -> Tensor:
    return _Normalise.apply(x, torch.finfo(x.dtype).eps)
