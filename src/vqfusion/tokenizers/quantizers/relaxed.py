"""Quantizers that mix codes in training and take the nearest code in evaluation."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.tokenizers.quantizers.gradient import GradientVectorQuantizer
from vqfusion.tokenizers.quantizers.rows import Rows
from vqfusion.tokenizers.streaming import soft_codes


class RelaxedVectorQuantizer(GradientVectorQuantizer):
    """In training a mixture of codes with p_k = softmax_k(-|x - c_k|^2 / (2 variance)) and a learned variance.

    The variance starts at the mean squared distance to the nearest code, so that several codes contribute to a vector.
    The codebook learns through the mixture, and from the losses of `GradientVectorQuantizer` where their weights are
    not zero. Evaluation takes the nearest code with the straight-through gradient. `anneal_steps` is the length, in
    updates, of the schedule of a subclass; further arguments as in `GradientVectorQuantizer`.
    """

    def __init__(
        self, dim: int | None = None, codebook_size: int | None = None, *, anneal_steps: int = 1000, **options: Any
    ):
        super().__init__(dim, codebook_size, **options)
        self.anneal_steps = anneal_steps
        self.log_variance = nn.Parameter(torch.zeros(()))

    def start(self, codebook: Float[Tensor, "K D"], vectors: Float[Tensor, "N D"]) -> None:
        super().start(codebook, vectors)
        distance = (vectors - self.lookup(self.nearest(vectors))).square().sum(dim=1).mean()
        spread = (vectors - vectors.mean(dim=0)).square().sum(dim=1).mean()
        self.log_variance.copy_(torch.maximum(distance, 1e-3 * spread).clamp(min=1e-12).log())

    @property
    def annealed(self) -> Float[Tensor, ""]:
        """Completed fraction of the schedule, in [0, 1]."""
        return torch.clamp(self.updates / self.anneal_steps, max=1)

    def precision(self) -> Float[Tensor, ""]:
        """Inverse variance, the factor of half the squared distances."""
        return torch.exp(-self.log_variance)


class SoftVectorQuantizer(RelaxedVectorQuantizer):
    """Kernel regression on the codes, Nadaraya (1964) and Watson (1964), with a learned bandwidth annealed to zero.

    q(x) = sum_k c_k phi(x - c_k) / sum_k phi(x - c_k), with phi(u) = exp(-|u|^2 / (2 h^2)) and h = sqrt(variance) (1 -
    t / `anneal_steps`) after t updates. From `anneal_steps` on, and in evaluation, it is the limit h -> 0: the nearest
    code, with the straight-through gradient.
    """

    def precision(self) -> Float[Tensor, ""]:
        return super().precision() / (1 - self.annealed).square()

    def output(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        hard, loss, losses = super().output(x, codes, rows)
        if not self.training or self.annealed == 1:
            return hard, loss, losses
        return soft_codes(x, self.codes(), self.precision() / 2), loss, losses
