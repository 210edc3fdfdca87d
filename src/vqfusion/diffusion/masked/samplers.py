"""Samplers of masked diffusion: plain functions over a denoiser."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.diffusion.masked.path import draw_categorical

# ids [B, N] with hidden tokens marked in the mask [B, N] -> logits [B, N, K]
TokenDenoiser = Callable[[Int[Tensor, "B N"], Bool[Tensor, "B N"]], Float[Tensor, "B N K"]]


@dataclass(frozen=True)
class Sampled:
    """Tokens `[B, N]`, the summed log probability of each item's draws `[B]`, and the denoiser calls made."""

    ids: Tensor
    log_probability: Tensor
    nfe: int


@torch.no_grad()
def sample_masked(
    denoiser: TokenDenoiser,
    ids: Int[Tensor, "B N"],
    hidden: Bool[Tensor, "B N"],
    steps: int,
    generators: list[torch.Generator],
    order: str = "confidence",
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Sampled:
    """Fill the hidden tokens in at most `steps` calls; all others never change.

    After step k of n, cos(pi/2 * k/n) of the hidden tokens of each item are still hidden (Chang et al., 2022,
    "MaskGIT"), at least one being revealed a step. `order="confidence"` reveals the most probable draws first,
    with Gumbel noise of scale `temperature * (1 - k/n)`; `order="random"` reveals in random order, which with
    steps >= hidden tokens samples the model's any-order factorisation exactly. Item i draws from generator i
    alone, so a result does not depend on the batch it was made in. temperature 0 is greedy.
    """
    ids, hidden = ids.clone(), hidden.clone()
    total = hidden.sum(dim=1)
    steps = max(1, min(steps, int(total.max()) if len(total) else 1))
    log_probability = torch.zeros(len(ids), dtype=torch.float64)
    nfe = 0
    for step in range(steps):
        if not hidden.any():
            break
        logits = denoiser(ids, hidden)
        nfe += 1
        remaining = math.cos(math.pi / 2 * (step + 1) / steps)
        for i, generator in enumerate(generators):
            places = hidden[i].nonzero()[:, 0]
            left = int(float(total[i]) * remaining + 1e-9) if step + 1 < steps else 0
            count = len(places) - min(left, max(len(places) - 1, 0))
            if not len(places):
                continue
            drawn, log_p = draw_categorical(logits[i, places], generator, temperature, top_p)
            score = log_p.cpu()
            if order == "random":
                score = torch.rand(len(places), generator=generator, dtype=torch.float64)
            elif temperature > 0:
                uniform = torch.rand(len(places), generator=generator, dtype=torch.float64).clamp(min=1e-300)
                score = score - temperature * (1 - (step + 1) / steps) * (-uniform.log()).log()
            chosen = score.topk(count).indices.to(places.device)
            ids[i, places[chosen]] = drawn[chosen]
            hidden[i, places[chosen]] = False
            log_probability[i] += float(log_p[chosen].sum())
    return Sampled(ids, log_probability, nfe)
