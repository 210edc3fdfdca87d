"""Masked (absorbing) diffusion: tokens are masked with probability t and never change otherwise."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class MaskedPath:
    """Linear absorbing path: at time t in [0, 1] (0 = data, 1 = noise) each token is masked with probability t.

    Austin et al. (2021); in this form Sahoo et al. (2024), "MDLM", and Shi et al. (2024), "MD4". The negative ELBO is
    E_t [ (1 / t) sum over masked tokens of -log p(x_i | x_t) ].
    """

    def mask_probability(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Probability that a token is masked at time t."""
        return t

    def elbo_weight(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Weight of the cross-entropy that makes the loss the negative ELBO: -alpha'(t) / (1 - alpha(t)) = 1 / t."""
        return 1 / t

    def training_weight(self, t: Float[Tensor, " B"], gamma: float = 5.0) -> Float[Tensor, " B"]:
        """ELBO weight, capped at `gamma` for t -> 0, and 1 at t = 1: softmin-SNR, Swerdlow et al. (2025), "UniDisc"."""
        return 1 / (t + (1 - t) / gamma)

    def corrupt(self, shape: tuple[int, ...], t: float, generator: torch.Generator) -> Bool[Tensor, "..."]:
        """Random mask of one item at time t, True = masked."""
        return torch.rand(shape, generator=generator, dtype=torch.float64) < t


def stratified_times(batch: int, generator: torch.Generator, lowest: float = 1e-3) -> Float[Tensor, " B"]:
    """One time in each of `batch` equal parts of [lowest, 1], in random order, for less variance of the loss."""
    places = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    return (lowest + (1 - lowest) * places)[torch.randperm(batch, generator=generator)]


def sampler_times(batch: int, generator: torch.Generator) -> Float[Tensor, " B"]:
    """Stratified times as a sampler visits them: t = cos(pi u / 2), u uniform: Chang et al. (2022), "MaskGIT".

    Half of them lie above 0.7, where few tokens are visible and the condition decides.
    """
    return torch.cos(stratified_times(batch, generator) * torch.pi / 2).clamp(min=1e-3)


def sampler_density(t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Density of `sampler_times`, 2 / (pi sqrt(1 - t^2)), by which means over uniform times are divided."""
    return 2 / (torch.pi * (1 - t.square()).clamp(min=1e-6).sqrt())


def draw_categorical(
    logits: Float[Tensor, "N K"], generator: torch.Generator, temperature: float = 1.0, top_p: float = 1.0
) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    """Draw from softmax(logits / temperature) by the Gumbel-max trick in float64.

    float32 would truncate the tail of the Gumbel noise and so lower the temperature (Zheng et al., 2024).

    Args:
        logits: Logits of each token.
        generator: Random generator.
        temperature: 0 takes the most probable token.
        top_p: Keep the smallest set of tokens whose probability reaches this: Holtzman et al. (2020).

    Returns:
        The tokens, and their log probabilities under softmax(logits).
    """
    log_p = logits.double().log_softmax(dim=-1)
    if temperature == 0:
        drawn = log_p.argmax(dim=-1)
    else:
        scaled = (log_p / temperature).log_softmax(dim=-1)
        if top_p < 1:
            ordered, order = scaled.sort(dim=-1, descending=True)
            outside = ordered.exp().cumsum(dim=-1) - ordered.exp() >= top_p
            scaled = scaled.masked_fill(torch.zeros_like(outside).scatter(-1, order, outside), -torch.inf)
        uniform = torch.rand(scaled.shape, generator=generator, dtype=torch.float64).clamp(min=1e-300)
        drawn = (scaled - (-uniform.log()).log().to(scaled.device)).argmax(dim=-1)
    return drawn, log_p.gather(-1, drawn[:, None])[:, 0]
