"""Residual finite scalar quantization: the digits of an index in one fine grid."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.tokenizers.quantizers.finite_scalar import FiniteScalarQuantizer
from vqfusion.tokenizers.quantizers.residual import kept_depth
from vqfusion.tokenizers.quantizers.rows import Assignment, Rows

FINEST = 2**20  # values of a coordinate that float32 still distinguishes


class ResidualFiniteScalarQuantizer(FiniteScalarQuantizer):
    """`num_quantizers` finite scalar quantizers, each of the residual of those before.

    Depth q of coordinate i has `levels[i]` values with the step L^(Q-1-q) * 2 / (L^Q - 1), L = levels[i]: its codes are
    the digits, the most significant first, of the index in one grid of L^Q values in [-1, 1]. Cells of a depth
    therefore do not overlap, as they may with the usual step sizes, powers of 1/(L - 1); Q(Q(z)) = Q(z), and a prefix
    of the indices decodes to the centre of its cell. The last axis of the indices, `quantizer_dropout` and index -1 are
    as in `Residual`; other arguments as in `FiniteScalarQuantizer`.
    """

    places: Tensor
    finest: Tensor

    def __init__(
        self,
        levels: tuple[int, ...],
        num_quantizers: int = 2,
        quantizer_dropout: float = 0.0,
        commitment_weight: float = 0.25,
        channel_first: bool = False,
        estimator: str = "ste",
    ):
        super().__init__(levels, commitment_weight, channel_first, estimator)
        if max(levels) ** num_quantizers > FINEST:
            raise ValueError(f"{max(levels)} levels {num_quantizers} deep are finer than float32; use fewer of either")
        self.num_quantizers = num_quantizers
        self.quantizer_dropout = quantizer_dropout
        self.draws = quantizer_dropout > 0
        self.index_axes = (num_quantizers,)
        places = [[level ** (num_quantizers - 1 - q) for level in levels] for q in range(num_quantizers)]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.register_buffer("finest", self.sizes**num_quantizers - 1, persistent=False)

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, "N Q"]:
        fine = ((x.clamp(-1, 1) + 1) / 2 * self.finest).round().long()
        digits = fine[:, None, :] // self.places % self.sizes
        return (digits * self.strides).sum(dim=-1)

    def lookup(self, indices: Int[Tensor, "... Q"]) -> Float[Tensor, "... D"]:
        return self.contributions(indices).sum(dim=-2)

    def contributions(self, indices: Int[Tensor, "... Q"]) -> Float[Tensor, "... Q D"]:
        """Vector that each index adds to the sum."""
        digits = indices[..., None].clamp(min=0) // self.strides % self.sizes
        values = (2 * digits - (self.sizes - 1)) * self.places[: indices.shape[-1]] / self.finest
        return torch.where(indices[..., None] >= 0, values, 0.0)

    def assign(self, rows: Rows) -> Assignment:
        x, indices = rows.vectors, self.nearest(rows.vectors)
        depth = kept_depth(rows, self.num_quantizers, self.quantizer_dropout if self.training else 0.0)
        if depth is not None:
            place = torch.arange(self.num_quantizers, device=x.device)
            indices = torch.where(place < depth[:, None], indices, -1)
        prefixes = self.contributions(indices).cumsum(dim=1)
        depth_error = torch.stack([rows.distance(x.detach(), prefix) for prefix in prefixes.unbind(dim=1)])
        codes = prefixes[:, -1]
        quantized, loss, losses = self.output(x, codes, rows)
        return Assignment(indices, codes, quantized, depth_error[-1], loss, losses, depth_error)
