"""Finite scalar quantization: a fixed grid of codes instead of a learned codebook."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.rows import Rows


class FiniteScalarQuantizer(Quantizer):
    """Rounds each of `len(levels)` coordinates to one of `levels[i]` equidistant values in [-1, 1].

    Mentzer, Minnen, Agustsson, Tschannen (2023), "Finite scalar quantization: VQ-VAE made simple". The paper bounds
    with tanh; here values are clamped, so that Q(Q(z)) = Q(z) and the gradient is exactly one. The commitment loss is
    the squared distance to the cube [-1, 1]^D and keeps the encoder inside it.

    Args:
        levels: Number of values of each coordinate, at least 2.
        commitment_weight: Weight of the commitment loss.
        channel_first: Layout, see `Quantizer`.
        estimator: Gradient estimator, see `Quantizer`.
    """

    config_keys = ("levels",)

    def __init__(
        self,
        levels: tuple[int, ...],
        commitment_weight: float = 0.25,
        channel_first: bool = False,
        estimator: str = "ste",
    ):
        if any(level < 2 for level in levels):
            raise ValueError(f"each of levels must be at least 2, not {levels}")
        super().__init__(len(levels), math.prod(levels), channel_first, estimator)
        self.levels = tuple(levels)
        self.commitment_weight = commitment_weight
        strides = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("steps", torch.tensor([float(level - 1) for level in levels]), persistent=False)
        self.register_buffer("sizes", torch.tensor(levels), persistent=False)
        self.register_buffer("strides", torch.tensor(strides), persistent=False)

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, "N ..."]:
        digits = ((x.clamp(-1, 1) + 1) / 2 * self.steps).round().long()
        return (digits * self.strides).sum(dim=-1)

    def lookup(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
        digits = indices[..., None] // self.strides % self.sizes
        return digits / self.steps * 2 - 1

    def quantization_losses(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        outside = rows.distance(x, x.clamp(-1, 1).detach())
        return self.commitment_weight * outside, {"commitment": outside}
