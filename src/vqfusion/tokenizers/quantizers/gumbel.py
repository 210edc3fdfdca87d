"""Quantizers that sample a code in training: Gumbel-softmax and SQ-VAE."""

import math
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vqfusion.tokenizers.quantizers.cosine import OnSphere
from vqfusion.tokenizers.quantizers.estimators import carried
from vqfusion.tokenizers.quantizers.relaxation import mixture_of_codes
from vqfusion.tokenizers.quantizers.relaxed import RelaxedVectorQuantizer
from vqfusion.tokenizers.quantizers.rows import Rows


class GumbelVectorQuantizer(RelaxedVectorQuantizer):
    """Gumbel-softmax sample of a code: Jang, Gu, Poole (2016); in a VQ-VAE Ramesh et al. (2021), section 2.1.

    The temperature falls geometrically from `temperature` to `min_temperature` in `anneal_steps` updates. With `hard`
    the forward value in training is a code, with the gradient of the mixture. The loss is `kl_weight` KL(p | uniform),
    in nats per vector. Logits are negative squared distances, so that the most probable code is the nearest. Further
    arguments as in `RelaxedVectorQuantizer`.
    """

    draws = True

    def __init__(
        self,
        dim: int | None = None,
        codebook_size: int | None = None,
        *,
        temperature: float = 1.0,
        min_temperature: float = 1 / 16,
        hard: bool = False,
        kl_weight: float = 5e-4,
        commitment_weight: float = 0.0,
        codebook_weight: float = 0.0,
        **options: Any,
    ):
        super().__init__(
            dim, codebook_size, commitment_weight=commitment_weight, codebook_weight=codebook_weight, **options
        )
        self.max_temperature, self.min_temperature = temperature, min_temperature
        self.hard = hard
        self.kl_weight = kl_weight

    def temperature(self) -> Float[Tensor, ""]:
        """Temperature of the sample after the current number of updates."""
        return self.max_temperature * (self.min_temperature / self.max_temperature) ** self.annealed

    def output(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        table, seed = self.codes(), rows.seed if self.training else None
        mixture, largest, entropy, energy = mixture_of_codes(x, table, self.precision(), self.temperature(), seed)
        loss, losses = self.mixture_losses(rows.mean(entropy), rows.mean(energy))
        pull, parts = self.quantization_losses(x, codes, rows)
        if not self.training:
            mixture = self.estimate(x, codes, rows)
        elif self.hard:
            mixture = carried(mixture, table[largest])
        return mixture, loss + pull, {**losses, **parts}

    def mixture_losses(
        self, entropy: Float[Tensor, ""], energy: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Weighted loss and its terms, from the mean entropy of p and its mean energy, both in nats."""
        kl = math.log(self.codebook_size) - entropy
        return self.kl_weight * kl, {"kl": kl}


class StochasticVectorQuantizer(GumbelVectorQuantizer):
    """SQ-VAE with Gaussian dequantization of one variance: Takida et al. (2022), section 4, eq. 10.

    `losses` has the two divergences of the bound, in nats per vector: `kl_discrete` is the negative entropy of p,
    `kl_continuous` the mean of |x - c|^2 / (2 variance) over p, in closed form instead of one sample. The loss is
    `kl_weight` times their sum; beside a mean squared error over E elements per code, the bound with noise variance s^2
    in the data requires `kl_weight = 2 s^2 / E`. Evaluation draws no noise. Further arguments as in
    `GumbelVectorQuantizer`.
    """

    def __init__(
        self, dim: int | None = None, codebook_size: int | None = None, *, kl_weight: float = 1e-3, **options: Any
    ):
        super().__init__(dim, codebook_size, kl_weight=kl_weight, **options)

    def mixture_losses(self, entropy: Float[Tensor, ""], energy: Float[Tensor, ""]):
        return self.kl_weight * (energy - entropy), {"kl_discrete": -entropy, "kl_continuous": energy}


class StochasticSphericalQuantizer(OnSphere, StochasticVectorQuantizer):
    """SQ-VAE with von Mises-Fisher dequantization: Takida et al. (2022), section 4.2.

    On the unit sphere |x - c|^2 / 2 = 1 - x.c, so that p_k = softmax_k(kappa x.c_k); kappa = 1 + 1 / variance.
    """

    def precision(self) -> Float[Tensor, ""]:
        return 1 + super().precision()
