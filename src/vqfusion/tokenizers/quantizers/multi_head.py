"""Product quantization: each part of a vector has its own codebook."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.rows import Assignment, Rows
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer


class MultiHead(Quantizer):
    """Splits vectors into consecutive parts with a quantizer each: Jegou, Douze, Schmid (2011).

    Indices have a last axis over all heads; losses are means over heads. All heads need the same codebook size.

    Args:
        heads: One quantizer for each part.
        channel_first: Layout, see `Quantizer`.
    """

    def __init__(self, heads: Sequence[Quantizer], channel_first: bool = False):
        sizes = {head.codebook_size for head in heads}
        if len(sizes) != 1:
            raise ValueError(f"the heads of a quantizer need codebooks of one size, not {sorted(sizes)}")
        super().__init__(sum(head.dim for head in heads), sizes.pop(), channel_first)
        self.heads = nn.ModuleList(heads)
        self.widths = [head.dim for head in heads]
        self.columns = [head.index_axes[0] if head.index_axes else 1 for head in heads]
        self.index_axes = (sum(self.columns),)
        self.idempotent = all(head.idempotent for head in heads)

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, "N Q"]:
        parts = zip(self.heads, x.split(self.widths, dim=-1), self.columns, strict=True)
        return torch.cat([head.nearest(head.transform(part)).reshape(len(x), n) for head, part, n in parts], dim=-1)

    def lookup(self, indices: Int[Tensor, "... Q"]) -> Float[Tensor, "... D"]:
        parts = zip(self.heads, indices.split(self.columns, dim=-1), strict=True)
        return torch.cat([head.lookup(i if head.index_axes else i[..., 0]) for head, i in parts], dim=-1)

    def surrogate(self, x: Float[Tensor, "B *grid D"]) -> Float[Tensor, "B *grid D"]:
        parts = zip(self.heads, x.split(self.widths, dim=-1), strict=True)
        return torch.cat([head.surrogate(part) for head, part in parts], dim=-1)

    def assign(self, rows: Rows) -> Assignment:
        parts = zip(self.heads, rows.vectors.split(self.widths, dim=-1), strict=True)
        outs = [head.assign(rows.of(part, draw=1000 * i)) for i, (head, part) in enumerate(parts)]
        errors = [out.error.reshape(1) if out.depth_error is None else out.depth_error for out in outs]
        return Assignment(
            indices=torch.cat([out.indices.reshape(-1, n) for out, n in zip(outs, self.columns, strict=True)], dim=1),
            codes=torch.cat([out.codes for out in outs], dim=1),
            quantized=torch.cat([out.quantized for out in outs], dim=1),
            error=torch.stack([out.error * n for out, n in zip(outs, self.widths, strict=True)]).sum() / self.dim,
            loss=torch.stack([out.loss for out in outs]).mean(),
            losses={name: torch.stack([out.losses[name] for out in outs]).mean() for name in outs[0].losses},
            depth_error=torch.cat(errors),
        )


class MultiHeadVectorQuantizer(MultiHead):
    """`heads` `VectorQuantizer`s over equal parts of a vector; further arguments as in `VectorQuantizer`."""

    config_keys = ("dim", "codebook_size", "decay")

    def __init__(self, dim: int, codebook_size: int, heads: int = 2, channel_first: bool = False, **options: Any):
        if dim % heads:
            raise ValueError(f"vectors of {dim} cannot be split into {heads} heads; make dim a multiple of heads")
        super().__init__([VectorQuantizer(dim // heads, codebook_size, **options) for _ in range(heads)], channel_first)
