"""Two levels of codes: a coarse grid for global structure, a fine one for details."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.rows import check_mask, finite_rows
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer
from vqfusion.types import Quantized


class HierarchicalVectorQuantizer(Quantizer):
    """Top and bottom codes in the manner of Razavi, van den Oord, Vinyals (2019), "VQ-VAE-2", section 3.1.

    The first half of each vector, averaged over blocks of `factor` cells along each axis, is quantized at the top
    level. The second half is quantized at the bottom level, as its difference from a learned linear prediction from the
    top code of the block. Both halves go to the decoder, so that Q(Q(z)) = Q(z).

    Indices are `[B, *grid / factor, 1 + factor^rank]`: for each block its top code, then the codes of its cells. Every
    axis of the grid must be a multiple of `factor`; a block is real where any of its cells is. Statistics per depth are
    those of top and bottom.

    Args:
        dim: Dimension of the vectors.
        codebook_size: Codes of each level.
        factor: Side of a block in cells.
        channel_first: Layout, see `Quantizer`.
        **options: Further arguments of both `VectorQuantizer`s.
    """

    config_keys = ("dim", "codebook_size", "decay")

    def __init__(self, dim: int, codebook_size: int, factor: int = 2, channel_first: bool = False, **options: Any):
        super().__init__(dim, codebook_size, channel_first)
        self.downsampling = factor
        self.widths = [dim // 2, dim - dim // 2]
        self.top = VectorQuantizer(self.widths[0], codebook_size, **options)
        self.bottom = VectorQuantizer(self.widths[1], codebook_size, **options)
        self.prediction = nn.Parameter(torch.zeros(self.widths))

    def forward(
        self,
        x: Float[Tensor, "B ..."],
        mask: Bool[Tensor, "B ..."] | None = None,
        generator: torch.Generator | None = None,
    ) -> Quantized:
        """As `Quantizer.forward`; ValueError where an axis of the grid is not a multiple of `factor`."""
        vectors = self.vectors_last(x)
        shape = vectors.shape
        if any(size % self.downsampling for size in shape[1:-1]):
            raise ValueError(
                f"the grid is {tuple(shape[1:-1])}; pad its axes to multiples of {self.downsampling} and mask the rest"
            )
        check_mask(mask, shape[:-1])
        flat = vectors.reshape(-1, self.dim).float()
        real = flat.new_ones(len(flat), dtype=torch.bool) if mask is None else mask.reshape(-1)
        valid = real & finite_rows(flat)
        clean = torch.where(valid[:, None], flat, 0.0)
        with torch.autocast(x.device.type, enabled=False):
            present = valid.reshape(shape[:-1])
            coarse, fine = clean.reshape(shape).split(self.widths, dim=-1)
            top = self.top(self._average(coarse, present), self._blocks(present).any(dim=-1), generator)
            predicted = self._cells(top.quantized).detach() @ self.prediction
            bottom = self.bottom(fine - predicted, present, generator)
            halves = torch.cat([self._cells(top.quantized), bottom.quantized + predicted], dim=-1)
        quantized = torch.where(present[..., None], halves, 0.0)
        error = (clean - quantized.reshape(clean.shape)).detach().square().mean(dim=1)
        levels = (top, bottom)
        names = ("perplexity", "usage", "quantization_error")
        per_depth = {name: torch.stack([getattr(level, name) for level in levels]) for name in names}
        quantized = quantized.to(x.dtype)
        return Quantized(
            quantized=quantized.movedim(-1, 1) if self.channel_first else quantized,
            indices=torch.cat([top.indices[..., None], self._blocks(bottom.indices)], dim=-1),
            loss=top.loss + bottom.loss,
            losses={name: top.losses[name] + bottom.losses[name] for name in top.losses},
            perplexity=per_depth["perplexity"].mean(),
            usage=per_depth["usage"].mean(),
            quantization_error=error.sum() / valid.sum().clamp(min=1),
            nonfinite=(real & ~valid).sum(),
            per_depth=per_depth,
        )

    def nearest(self, x: Float[Tensor, "B *grid D"]) -> Int[Tensor, "B *blocks Q"]:
        """Indices of whole grids of vectors."""
        coarse, fine = x.split(self.widths, dim=-1)
        top = self.top.codes_to_indices(self._average(coarse, torch.ones_like(x[..., 0], dtype=torch.bool)))
        predicted = self._cells(self.top.lookup(top)) @ self.prediction
        return torch.cat([top[..., None], self._blocks(self.bottom.codes_to_indices(fine - predicted))], dim=-1)

    def lookup(self, indices: Int[Tensor, "B *blocks Q"]) -> Float[Tensor, "B *grid D"]:
        """Vectors of whole grids of indices."""
        coarse = self._cells(self.top.lookup(indices[..., 0]))
        fine = self._join(self.bottom.lookup(indices[..., 1:]), indices.ndim - 2)
        return torch.cat([coarse, fine + coarse @ self.prediction], dim=-1)

    def codes_to_indices(self, codes: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        with torch.autocast(codes.device.type, enabled=False):
            return self.nearest(self.vectors_last(codes).float())

    def surrogate(self, x: Float[Tensor, "B *grid D"]) -> Float[Tensor, "B *grid D"]:
        coarse, fine = x.split(self.widths, dim=-1)
        blocks = self._average(coarse, torch.ones_like(x[..., 0], dtype=torch.bool))
        return torch.cat([self._cells(blocks), fine], dim=-1)

    def by_codebook(self, indices: Int[Tensor, "..."]) -> list[Int[Tensor, "..."]]:
        return [indices[..., 0], indices[..., 1:]]

    def index_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        return (*(size // self.downsampling for size in grid), 1 + self.downsampling ** len(grid))

    def _average(self, x: Float[Tensor, "B *grid D"], present: Bool[Tensor, "B *grid"]) -> Tensor:
        """Mean of the real vectors of each block."""
        cells, weight = self._blocks(x, present.ndim - 1), self._blocks(present).float()
        return (cells * weight[..., None]).sum(dim=-2) / weight.sum(dim=-1, keepdim=True).clamp(min=1)

    def _blocks(self, x: Tensor, rank: int | None = None) -> Tensor:
        """`[B, *grid, ...]` to `[B, *grid / factor, factor^rank, ...]`."""
        rank = x.ndim - 1 if rank is None else rank
        grid, rest = x.shape[1 : 1 + rank], x.shape[1 + rank :]
        coarse = [size // self.downsampling for size in grid]
        x = x.reshape(len(x), *(n for size in coarse for n in (size, self.downsampling)), *rest)
        inner, outer = range(2, 2 * rank + 1, 2), range(1, 2 * rank + 1, 2)
        x = x.permute(0, *outer, *inner, *range(2 * rank + 1, x.ndim))
        return x.reshape(len(x), *coarse, self.downsampling**rank, *rest)

    def _join(self, x: Tensor, rank: int) -> Tensor:
        """`[B, *grid / factor, factor^rank, ...]` to `[B, *grid, ...]`."""
        coarse, rest = x.shape[1 : 1 + rank], x.shape[2 + rank :]
        x = x.reshape(len(x), *coarse, *[self.downsampling] * rank, *rest)
        pairs = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
        x = x.permute(0, *pairs, *range(2 * rank + 1, x.ndim))
        return x.reshape(len(x), *(size * self.downsampling for size in coarse), *rest)

    def _cells(self, x: Float[Tensor, "B *blocks D"]) -> Float[Tensor, "B *grid D"]:
        """Copy the vector of each block to all of its cells."""
        rank = x.ndim - 2
        repeated = x[..., None, :].expand(*x.shape[:-1], self.downsampling**rank, x.shape[-1])
        return self._join(repeated, rank)
