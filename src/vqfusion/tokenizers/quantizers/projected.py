"""Vector quantization in a learned subspace of dimension `codebook_dim`."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.rows import Assignment, Rows
from vqfusion.tokenizers.quantizers.vector import VectorQuantizer

ITERATIONS = 12  # converges for singular values down to a hundredth of the largest


class Projected(Quantizer):
    """Quantizes in a subspace: z = W x is quantized and mapped back by W^T.

    The rows of W are kept orthonormal, so that W W^T = 1 and quantizing twice equals quantizing once. Between two
    linear layers, as in any VQ-VAE, this is as expressive as two free projections: Yu et al. (2021), "ViT-VQGAN",
    section 3.2, and Kumar et al. (2023), "DAC", section 3.2, on small `codebook_dim`. The component outside of the
    subspace gets no gradient.

    Args:
        quantizer: Quantizer in the subspace.
        dim: Dimension of the vectors, at least that of `quantizer`.
        channel_first: Layout, see `Quantizer`.
    """

    def __init__(self, quantizer: Quantizer, dim: int, channel_first: bool = False):
        if quantizer.dim > dim:
            raise ValueError(f"codes of {quantizer.dim} numbers do not fit vectors of {dim}; make dim larger")
        super().__init__(dim, quantizer.codebook_size, channel_first)
        self.quantizer = quantizer
        self.index_axes = quantizer.index_axes
        self.idempotent = quantizer.idempotent
        weight = torch.randn(quantizer.dim, dim, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(orthonormal_rows(weight))

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, "N ..."]:
        return self.quantizer.nearest(self.quantizer.transform(x @ orthonormal_rows(self.weight).t()))

    def lookup(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
        return self.quantizer.lookup(indices) @ orthonormal_rows(self.weight)

    def surrogate(self, x: Float[Tensor, "B *grid D"]) -> Float[Tensor, "B *grid D"]:
        weight = orthonormal_rows(self.weight)
        return self.quantizer.surrogate(x @ weight.t()) @ weight

    def assign(self, rows: Rows) -> Assignment:
        weight = orthonormal_rows(self.weight)
        inner = self.quantizer.assign(rows.of(rows.vectors @ weight.t()))
        codes, quantized = inner.codes @ weight, inner.quantized @ weight
        error = rows.distance(rows.vectors.detach(), codes.detach())
        return Assignment(inner.indices, codes, quantized, error, inner.loss, inner.losses, inner.depth_error)


class ProjectedVectorQuantizer(Projected):
    """`VectorQuantizer` with codes of dimension `codebook_dim`, half of `dim` by default; other arguments as there."""

    config_keys = ("dim", "codebook_size", "decay")

    def __init__(
        self, dim: int, codebook_size: int, codebook_dim: int | None = None, channel_first: bool = False, **options: Any
    ):
        width = codebook_dim or max(1, dim // 2)
        super().__init__(VectorQuantizer(width, codebook_size, **options), dim, channel_first)


def orthonormal_rows(weight: Float[Tensor, "E D"]) -> Float[Tensor, "E D"]:
    """Nearest matrix with orthonormal rows (the polar factor), by Newton-Schulz iteration: Higham (1986).

    Matrix products only: it can be exported, and rows stay orthonormal when `weight` is rounded to half precision or
    averaged.
    """
    gram = weight @ weight.t()
    weight = weight / gram.abs().sum(dim=1).max().sqrt()  # upper bound of the largest singular value
    for _ in range(ITERATIONS):
        weight = 1.5 * weight - 0.5 * (weight @ weight.t()) @ weight
    return weight
