"""A VQ-VAE with a Gaussian encoder and decoder, and the bits per dimension of any VQ-VAE."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vqfusion.config import VQVAEConfig
from vqfusion.nn.conv import VQVAEDecoder, VQVAEEncoder
from vqfusion.nn.pretrained import Pretrained, Stored
from vqfusion.tokenizers.vqvae import VQVAE, build_quantizer
from vqfusion.types import Quantized

BIN_WIDTH = 2 / 255  # 8-bit values in [-1, 1]
LOG_VARIANCE = (-14.0, 4.0)  # the smallest standard deviation is about an eighth of an 8-bit grey level
LATENT_LOG_VARIANCE = (-10.0, 4.0)
LATENT_LOG_VARIANCE_AT_START = -5.0  # codes form before noise blurs them


@dataclass(frozen=True)
class GaussianReconstruction:
    """Output of the Gaussian VQ-VAE.

    Attributes:
        signal: Mean of the signal `[B, C, *size]`.
        log_variance: Log variance of the signal `[B, C, *size]`.
        latent_log_variance: Log variance of the latents `[B, dim, *grid]`.
        codes: Output of the quantizer.
    """

    signal: Tensor
    log_variance: Tensor
    latent_log_variance: Tensor
    codes: Quantized


class GaussianVQVAE(nn.Module, Pretrained):
    """VQ-VAE with encoder z = mu + sigma xi, nearest code, and decoder N(mean, variance), all of them learned.

    The Gaussian likelihood replaces the squared error of the VQ-VAE: Kingma, Welling (2014); with codes and a learned
    variance Takida et al. (2022), "SQ-VAE". By itself it trains the mean slowly wherever the variance is still large,
    so the likelihood of each value is weighted by variance^`beta`, see `weighed_nats`. `latent_weight` times the part
    of KL(N(mu, sigma^2) || N(code, 1)) that depends on sigma keeps sigma from vanishing; the part that depends on mu is
    the commitment loss of the quantizer. In evaluation mode xi = 0, so that encoding is deterministic. Sizes must be
    multiples of `downsampling`.

    Args:
        config: Shape of the VQ-VAE.
        latent_weight: Weight of the divergence of the latents.
        beta: Weighting of the likelihood in [0, 1]: 0 is the likelihood itself, 1 the squared error.
    """

    kind = "gaussian-vqvae"
    config_type = VQVAEConfig

    def __init__(self, config: VQVAEConfig, latent_weight: float = 1e-3, beta: float = 0.5):
        super().__init__()
        if not 0 <= beta <= 1:
            raise ValueError(f"beta must be between 0 (likelihood) and 1 (squared error), not {beta}")
        self.config = config
        self.latent_weight = latent_weight
        self.beta = beta
        self.quantizer = build_quantizer(config)
        shape = dict(widths=config.widths, depths=config.depths, rank=config.rank)
        self.encoder = VQVAEEncoder(config.channels, 2 * self.quantizer.dim, **shape)
        self.decoder = VQVAEDecoder(2 * config.channels, self.quantizer.dim, **shape)
        self.downsampling = self.encoder.downsampling * self.quantizer.downsampling
        with torch.no_grad():
            self.encoder.layers[-1].bias[self.quantizer.dim :] = LATENT_LOG_VARIANCE_AT_START

    def forward(self, x: Float[Tensor, "B C ..."], generator: torch.Generator | None = None) -> GaussianReconstruction:
        """Encode, quantize and decode; `generator` draws xi in training, the global one by default."""
        mu, latent_log_variance = self.encoder(x).float().chunk(2, dim=1)
        latent_log_variance = soft_clamp(latent_log_variance, *LATENT_LOG_VARIANCE)
        z = mu
        if self.training:
            xi = torch.randn(mu.shape, generator=generator, device=generator.device if generator else mu.device)
            z = mu + (latent_log_variance / 2).exp() * xi.to(mu.device)
        codes = self.quantizer(z)
        signal, log_variance = self._decode(codes.quantized)
        return GaussianReconstruction(signal, log_variance, latent_log_variance, codes)

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "B C ..."]) -> Int[Tensor, "B ..."]:
        """Indices of the codes nearest to mu."""
        return self.quantizer.encode(self.encoder(x).float().chunk(2, dim=1)[0].contiguous())

    @torch.no_grad()
    def decode(self, indices: Int[Tensor, "B ..."]) -> Float[Tensor, "B C ..."]:
        """Mean of the signal for a grid of indices."""
        return self._decode(self.quantizer.indices_to_codes(indices))[0]

    def loss(
        self, x: Float[Tensor, "B C ..."], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Training loss: weighted negative log-likelihood, divergence of the latents, and the quantizer's loss.

        The report has the unweighted negative log-likelihood, in nats per value of `x`.
        """
        out = self(x, generator)
        nats = gaussian_nats(x, out.signal, out.log_variance).detach().mean()
        spread = out.latent_log_variance.exp() - out.latent_log_variance - 1
        divergence = (spread / 2).mean()
        report = {
            "nats_per_dim": nats,
            "mse": (x - out.signal).detach().square().mean(),
            "divergence": divergence.detach(),
            "perplexity": out.codes.perplexity,
            "usage": out.codes.usage,
        }
        weighed = weighed_nats(x, out.signal, out.log_variance, self.beta).mean()
        return weighed + self.latent_weight * divergence + out.codes.loss, report

    def write_parts(self, folder: Path) -> dict[str, Any]:
        return super().write_parts(folder) | {"latent_weight": self.latent_weight, "beta": self.beta}

    @classmethod
    def read_parts(cls, stored: Stored, device: torch.device) -> Any:
        model = super().read_parts(stored, device)
        model.latent_weight, model.beta = float(stored.more["latent_weight"]), float(stored.more["beta"])
        return model

    def _decode(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        signal, log_variance = self.decoder(codes).float().chunk(2, dim=1)
        return signal, soft_clamp(log_variance, *LOG_VARIANCE)


def soft_clamp(x: Tensor, low: float, high: float) -> Tensor:
    """Smooth map of `x` `[...]` onto the interval (low, high), close to the identity near its middle."""
    middle, half = (low + high) / 2, (high - low) / 2
    return middle + half * torch.tanh((x - middle) / half)


def gaussian_nats(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """-log N(x; mean, variance) of each value in nats; all arguments have the shape `[...]` of `x`."""
    return (math.log(2 * math.pi) + log_variance + (x - mean).square() * (-log_variance).exp()) / 2


def weighed_nats(x: Tensor, mean: Tensor, log_variance: Tensor, beta: float) -> Tensor:
    """-log N(x; mean, variance) of each value, times variance^beta with its gradient stopped.

    Seitzer, Tavakoli, Antic, Martius (2022), "On the pitfalls of heteroscedastic uncertainty estimation with
    probabilistic neural networks", eq. 5. The gradient for the mean is (mean - x) variance^(beta - 1): that of the
    likelihood for beta = 0, that of half the squared error for beta = 1. The optimal variance does not depend on beta.

    Args:
        x: Values `[...]`.
        mean: Means `[...]`.
        log_variance: Log variances `[...]`.
        beta: Exponent in [0, 1].

    Returns:
        Nats of each value.
    """
    return log_variance.detach().mul(beta).exp() * gaussian_nats(x, mean, log_variance)


def discretised_gaussian_bits(
    x: Float[Tensor, "..."],
    mean: Float[Tensor, "..."],
    log_variance: Float[Tensor, "..."],
    bin_width: float = BIN_WIDTH,
    ends: tuple[float, float] = (-1.0, 1.0),
) -> Float[Tensor, "..."]:
    """-log2 of the probability of the bin around each value under a normal distribution, in float64.

    Args:
        x: Values.
        mean: Means, in the shape of `x`.
        log_variance: Log variances, in the shape of `x`.
        bin_width: Width of a bin.
        ends: Smallest and largest bin centre; the two outer bins extend to infinity, so that the probabilities of all
            bins sum to one.

    Returns:
        Bits for each value, in the shape of `x`.
    """
    x, mean, std = x.double(), mean.double(), (log_variance.double() / 2).exp()
    above = torch.where(x > ends[1] - bin_width / 2, torch.inf, (x + bin_width / 2 - mean) / std)
    below = torch.where(x < ends[0] + bin_width / 2, -torch.inf, (x - bin_width / 2 - mean) / std)
    mirrored = above + below > 0  # both in the lower tail, where log_ndtr is exact
    low, high = torch.where(mirrored, -above, below), torch.where(mirrored, -below, above)
    low, high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    return -(high + torch.log(-torch.expm1((low - high).clamp(max=-1e-300)))) / math.log(2)


@torch.no_grad()
def bits_per_dim(
    model: VQVAE | GaussianVQVAE,
    x: Float[Tensor, "B C ..."],
    bin_width: float = BIN_WIDTH,
    ends: tuple[float, float] = (-1.0, 1.0),
) -> Float[Tensor, " B"]:
    """Upper bound on -log2 p(x) per value: the bits that suffice to send x by its codes.

    From p(x) >= p(codes) p(x | codes): log2 K bits for each code of K, then x rounded to bins under the decoder's
    normal distribution. A `VQVAE` without a variance gets one variance, the best for this batch; its cost of 32 bits is
    divided among the items. All `codebook_size` indices count as equally probable.

    Args:
        model: The VQ-VAE, in evaluation mode.
        x: Signals in [-1, 1].
        bin_width: Width of the bins of the values; 2 / 255 for 8-bit values.
        ends: Smallest and largest bin centre.

    Returns:
        Bits per value, one number for each item.
    """
    indices = model.encode(x)
    if isinstance(model, GaussianVQVAE):
        mean, log_variance = model._decode(model.quantizer.indices_to_codes(indices))
        side_bits = 0.0
    else:
        mean = model.decode(indices).float()
        log_variance = (x - mean).square().mean().clamp(min=math.exp(LOG_VARIANCE[0])).log().expand_as(mean)
        side_bits = 32 / len(x)
    values = discretised_gaussian_bits(x, mean, log_variance, bin_width, ends).flatten(1).sum(dim=1)
    code_bits = indices[0].numel() * math.log2(model.quantizer.codebook_size)
    return (values + code_bits + side_bits) / x[0].numel()
