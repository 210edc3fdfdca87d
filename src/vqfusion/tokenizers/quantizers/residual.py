"""Residual quantization: each code approximates the residual of the codes before it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.multi_head import MultiHead
from vqfusion.tokenizers.quantizers.rows import Assignment, Rows
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer


class Residual(Quantizer):
    """A sequence of quantizers, each of the residual of those before.

    Juang, Gray (1982); Zeghidour et al. (2021), "SoundStream", section 3.3. Indices have a last axis over depth; a
    prefix of it can be decoded too, to a coarser vector. In training each item of the batch keeps, with probability
    `quantizer_dropout`, only a random number of codes, at least one: Kumar et al. (2023), "DAC", section 3.3; dropped
    codes have index -1, which adds nothing in decoding. The losses of a depth are sums over the vectors that reach it,
    divided by the number of all vectors; the total is the sum over depths.

    The search is greedy, so that Q(Q(z)) need not be Q(z): a sum of codes may lie nearer to another first code. The
    gradient estimator is applied once, to the sum.

    Args:
        quantizers: The quantizers, of one dimension and codebook size.
        quantizer_dropout: Probability of dropping the last codes of an item in training.
        estimator: Gradient estimator, see `Quantizer`.
        channel_first: Layout, see `Quantizer`.
    """

    idempotent = False

    def __init__(
        self,
        quantizers: Sequence[Quantizer],
        quantizer_dropout: float = 0.0,
        estimator: str = "ste",
        channel_first: bool = False,
    ):
        kinds = {(part.dim, part.codebook_size, part.index_axes) for part in quantizers}
        if len(kinds) != 1 or quantizers[0].index_axes:
            raise ValueError("residual quantization needs quantizers of one dim, one codebook_size and one index each")
        own = [type(part).__name__ for part in quantizers if type(part).output is not Quantizer.output]
        if own:
            raise ValueError(
                f"{own[0]} has its own gradient for each code, which a sum of codes cannot pass on; use another one"
            )
        super().__init__(quantizers[0].dim, quantizers[0].codebook_size, channel_first, estimator)
        self.quantizers = nn.ModuleList(quantizers)
        self.quantizer_dropout = quantizer_dropout
        self.draws = quantizer_dropout > 0
        self.index_axes = (len(quantizers),)

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, "N Q"]:
        columns = []
        for part in self.quantizers:
            columns.append(part.nearest(part.transform(x)))
            x = x - part.lookup(columns[-1])
        return torch.stack(columns, dim=-1)

    def lookup(self, indices: Int[Tensor, "... Q"]) -> Float[Tensor, "... D"]:
        codes = [
            torch.where(column[..., None] >= 0, part.lookup(column.clamp(min=0)), 0.0)
            for part, column in zip(self.quantizers, indices.unbind(dim=-1), strict=False)
        ]
        return torch.stack(codes).sum(dim=0)

    def surrogate(self, x: Float[Tensor, "B *grid D"]) -> Float[Tensor, "B *grid D"]:
        return x

    def assign(self, rows: Rows) -> Assignment:
        depth = kept_depth(rows, len(self.quantizers), self.quantizer_dropout if self.training else 0.0)
        residual, total = rows.vectors, torch.zeros_like(rows.vectors)
        columns, errors, loss = [], [], rows.vectors.new_zeros(())
        losses: dict[str, Tensor] = {}
        for i, part in enumerate(self.quantizers):
            out, indices, codes = self._stage(part, rows.of(residual, draw=i), None if depth is None else depth > i)
            total, residual = total + codes, residual - codes.detach()
            columns.append(indices)
            errors.append(rows.mean(residual.detach().square().mean(dim=1)))
            loss = loss + out.loss
            losses = {name: losses.get(name, 0) + value for name, value in out.losses.items()}
        quantized = self.estimate(rows.vectors, total, rows)
        return Assignment(torch.stack(columns, dim=1), total, quantized, errors[-1], loss, losses, torch.stack(errors))

    def _stage(
        self, part: Quantizer, rows: Rows, sent: Tensor | None
    ) -> tuple[Assignment, Int[Tensor, " N"], Float[Tensor, "N D"]]:
        """Apply one quantizer to the rows that keep its code; returns indices and codes of all rows."""
        if sent is None:
            out = part.assign(rows)
            return out, out.indices, out.codes
        out, place = part.assign(rows.where(sent)), sent.nonzero()[:, 0]
        indices = torch.full_like(rows.item, -1).index_copy(0, place, out.indices)
        return out, indices, torch.zeros_like(rows.vectors).index_copy(0, place, out.codes)


class ResidualVectorQuantizer(Residual):
    """`num_quantizers` residual `VectorQuantizer`s; further arguments as there."""

    config_keys = ("dim", "codebook_size", "decay")

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        num_quantizers: int = 4,
        quantizer_dropout: float = 0.0,
        estimator: str = "ste",
        channel_first: bool = False,
        **options: Any,
    ):
        parts = [VectorQuantizer(dim, codebook_size, **options) for _ in range(num_quantizers)]
        super().__init__(parts, quantizer_dropout, estimator, channel_first)


class GroupedResidualVectorQuantizer(MultiHead):
    """Residual quantization of `groups` equal parts of a vector: Yang et al. (2023), "HiFi-Codec", section 3.2.

    Indices have a last axis of groups x depth. An item keeps the same depth in all groups. Further arguments as in
    `ResidualVectorQuantizer`.
    """

    config_keys = ("dim", "codebook_size", "decay")

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        groups: int = 2,
        num_quantizers: int = 4,
        quantizer_dropout: float = 0.0,
        channel_first: bool = False,
        **options: Any,
    ):
        if dim % groups:
            raise ValueError(f"vectors of {dim} cannot be split into {groups} groups; make dim a multiple of groups")
        width = dim // groups
        parts = [ResidualVectorQuantizer(width, codebook_size, num_quantizers, **options) for _ in range(groups)]
        super().__init__(parts, channel_first)
        self.num_quantizers = num_quantizers
        self.quantizer_dropout = quantizer_dropout
        self.draws = quantizer_dropout > 0

    def assign(self, rows: Rows) -> Assignment:
        dropout = self.quantizer_dropout if self.training else 0.0
        return super().assign(replace(rows, depth=kept_depth(rows, self.num_quantizers, dropout)))


def kept_depth(rows: Rows, most: int, dropout: float) -> Int[Tensor, " N"] | None:
    """Number of codes that each row keeps, the same for all rows of an item; None where all rows keep all codes."""
    if rows.depth is not None or not dropout:
        return rows.depth
    generator = rows.generator()
    device = rows.item.device
    shortened = torch.rand(rows.items, generator=generator, device=device) < dropout
    depth = torch.randint(1, most + 1, (rows.items,), generator=generator, device=device)
    return torch.where(shortened, depth, most)[rows.item]
