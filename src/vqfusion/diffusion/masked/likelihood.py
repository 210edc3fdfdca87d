"""Likelihood bound of masked diffusion."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.diffusion.masked.path import MaskedPath
from vqfusion.diffusion.masked.samplers import TokenDenoiser


@torch.no_grad()
def negative_elbo(
    denoiser: TokenDenoiser,
    ids: Int[Tensor, "B N"],
    real: Bool[Tensor, "B N"],
    draws: int,
    generator: torch.Generator,
) -> Float[Tensor, " B"]:
    """Upper bound on -log p(ids) of each item in nats.

    With n tokens the bound is the mean, over k uniform in 1..n and over sets of k masked tokens, of (n / k) times their
    summed cross-entropy: the integral over t of the loss of `MaskedPath` with the binomial summed out, exact in
    expectation. All items of a batch with the same length use the same masks (common random numbers).

    Args:
        denoiser: Logits `[B, N, K]` of tokens and mask.
        ids: Tokens.
        real: True = real token, False = padding.
        draws: Number of masks, with stratified numbers of masked tokens.
        generator: Draws the masks.

    Returns:
        Nats for each item.
    """
    path_total = torch.zeros(len(ids), dtype=torch.float64)
    n = int(real.sum(dim=1).max())
    for draw in range(draws):
        place = (draw + float(torch.rand(1, generator=generator))) / draws
        noise = torch.rand(ids.shape[1], generator=generator).expand(len(ids), -1).to(ids.device)
        rank = torch.where(real, noise, 2.0).argsort(dim=1).argsort(dim=1)
        lengths = real.sum(dim=1)
        number = (place * lengths).long().clamp(max=n - 1) + 1
        hidden = (rank < number[:, None]) & real
        log_p = denoiser(ids, hidden).double().log_softmax(dim=-1)
        nll = -log_p.gather(-1, ids[..., None])[..., 0]
        weight = MaskedPath().elbo_weight(number.double() / lengths)
        path_total += (weight * (nll * hidden).sum(dim=1)).cpu()
    return path_total / draws
