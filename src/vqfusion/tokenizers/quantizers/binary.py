"""Binary codes: lookup-free and binary spherical quantization, with exact entropies."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.tokenizers.quantizers.codebook import all_mean
from vqfusion.tokenizers.quantizers.relaxation import entropy_of, over_rows
from vqfusion.tokenizers.quantizers.rows import Rows

MOST_BITS = 24  # of one codebook, because the statistics have a count for every code


class BinaryQuantizer(Quantizer):
    """Sign of each of `dim` coordinates: 2^dim codes with entries +-`scale`, without a table.

    The loss is `entropy_weight` (mean entropy of p - `diversity_gamma` entropy of the mean of p) plus
    `commitment_weight`
    |x - sg[c]|^2, with p_c = softmax_c(-|x - c|^2 / `temperature`) over all codes. p factorises over bits, so the first
    entropy is a sum over bits; the second is computed exactly as well, from a product of two matrices `[N, 2^(dim/2)]`.

    Args:
        dim: Number of bits.
        scale: Absolute value of the entries of a code.
        entropy_weight: Weight of the entropy loss.
        diversity_gamma: Weight of the entropy of the mean within it.
        commitment_weight: Weight of the commitment loss.
        temperature: Temperature of p.
        estimator: Gradient estimator, see `Quantizer`.
        channel_first: Layout, see `Quantizer`.
    """

    config_keys = ("dim",)

    def __init__(
        self,
        dim: int,
        *,
        scale: float,
        entropy_weight: float = 0.1,
        diversity_gamma: float = 1.0,
        commitment_weight: float = 0.25,
        temperature: float = 0.01,
        estimator: str = "ste",
        channel_first: bool = False,
    ):
        if dim > MOST_BITS:
            raise ValueError(f"{dim} bits make too many codes to count; use MultiHead with {MOST_BITS} or fewer a head")
        super().__init__(dim, 2**dim, channel_first, estimator)
        self.scale = scale
        self.entropy_weight = entropy_weight
        self.diversity_gamma = diversity_gamma
        self.commitment_weight = commitment_weight
        self.temperature = temperature
        self.register_buffer("places", 2 ** torch.arange(dim), persistent=False)

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
        return ((x > 0) * self.places).sum(dim=-1)

    def lookup(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
        bits = indices[..., None] // self.places % 2
        return (2 * bits - 1) * self.scale

    def quantization_losses(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        commitment = rows.distance(x, codes.detach())
        logits = 4 * self.scale / self.temperature * x  # |x + s|^2 - |x - s|^2 = 4 s x
        sample_entropy = rows.mean(bit_entropy(logits).sum(dim=1))
        mean = mean_joint(logits, rows.weights())
        if self.training:  # in evaluation, one process may run alone
            mean = all_mean(mean, len(x))
        batch_entropy = entropy_of(mean)
        loss = self.entropy_weight * (sample_entropy - self.diversity_gamma * batch_entropy)
        parts = {"commitment": commitment, "sample_entropy": sample_entropy, "batch_entropy": batch_entropy}
        return loss + self.commitment_weight * commitment, parts


class LookupFreeQuantizer(BinaryQuantizer):
    """Codes +-1: Yu et al. (2023), "Language model beats diffusion", section 3.1; arguments as in `BinaryQuantizer`."""

    def __init__(self, dim: int, **options: Any):
        super().__init__(dim, scale=1.0, **options)


class BinarySphericalQuantizer(BinaryQuantizer):
    """Signs of a unit vector: Zhao, Xiong, Krahenbuhl (2024), section 4; codes +-1/sqrt(dim), of norm one.

    `temperature` is 2 / tau of the paper, where p_c = softmax_c(tau x.c); other arguments as in `BinaryQuantizer`.
    """

    def __init__(self, dim: int, *, temperature: float = 0.02, **options: Any):
        super().__init__(dim, scale=dim**-0.5, temperature=temperature, **options)

    def transform(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return F.normalize(x, dim=-1, eps=1e-6)


def bit_entropy(logits: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Entropy in nats of bits that are one with probability sigmoid(logit)."""
    return F.softplus(logits) - logits * logits.sigmoid()


def mean_joint(logits: Float[Tensor, "N D"], weight: Float[Tensor, " N"]) -> Float[Tensor, " K"]:
    """Weighted mean over rows of the probabilities of all 2^D words of D independent bits; sums to one.

    The table of words of a row is the outer product of the tables of its first and last bits, and a sum of outer
    products over rows is a matrix product, so that no array of N x 2^D is needed.
    """

    def chunk(weighted: Tensor, place: int) -> tuple[Tensor]:
        one = weighted[:, 1:].sigmoid()
        middle = one.shape[1] // 2
        first, last = words(one[:, :middle]) * weighted[:, :1], words(one[:, middle:])
        return ((first.t() @ last).reshape(1, -1),)

    total = over_rows(chunk, torch.cat([weight[:, None], logits], dim=1))[0].sum(dim=0)
    return total / total.detach().sum().clamp(min=1e-12)


def words(one: Float[Tensor, "N D"]) -> Float[Tensor, "N W"]:
    """Probabilities of all 2^D words of D independent bits."""
    table = one.new_ones(len(one), 1)
    for bit in one.unbind(dim=1):
        table = torch.cat([table * (1 - bit[:, None]), table * bit[:, None]], dim=1)
    return table
