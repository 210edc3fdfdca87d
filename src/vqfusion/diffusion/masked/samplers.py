"""Samplers of masked diffusion: functions over a denoiser."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.diffusion.masked.path import draw_categorical
from vqfusion.watch import told

# ids [B, N], mask [B, N] that is True for hidden tokens -> logits [B, N, K]
TokenDenoiser = Callable[[Int[Tensor, "B N"], Bool[Tensor, "B N"]], Float[Tensor, "B N K"]]


@dataclass(frozen=True)
class Sampled:
    """Result of a sampler.

    Attributes:
        ids: Tokens `[B, N]`.
        log_probability: Sum of the log probabilities of the drawn tokens of each item `[B]`.
        nfe: Number of denoiser evaluations.
        steps: The step at which each token was fixed, from 1; 0 where it was known `[B, N]`.
        log_p: Log probability of each token when it was fixed; 0 where it was known `[B, N]`.
    """

    ids: Tensor
    log_probability: Tensor
    nfe: int
    steps: Tensor
    log_p: Tensor


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
    certain: float = 1.0,
    floor: Float[Tensor, " B"] | None = None,
) -> Sampled:
    """Fill in the hidden tokens; all others never change.

    After step k of n, the fraction cos(pi/2 * k/n) of the hidden tokens of each item is still hidden (Chang et al.,
    2022, "MaskGIT"), with at least one token revealed per step. Item i draws only from generator i, so that a result
    does not depend on the rest of the batch.

    Args:
        denoiser: Function from tokens and mask of hidden tokens to logits.
        ids: Tokens; the values of hidden ones are ignored.
        hidden: True for the tokens to fill in.
        steps: Largest number of denoiser evaluations.
        generators: One for each item.
        order: "confidence" reveals the most probable draws first, with Gumbel noise of scale `temperature * (1 - k/n)`;
            "random" reveals in random order, which with one token per step samples the any-order factorisation of the
            model exactly.
        temperature: Sampling temperature; 0 is greedy.
        top_p: Nucleus sampling, see `draw_categorical`.
        certain: Below 1, greedy steps in order of confidence reveal every token of at least this probability at once
            (Wu et al., 2025, "Fast-dLLM").
        floor: Items whose `log_probability` has fallen below this are left unfinished.

    Returns:
        The completed tokens.
    """
    ids, hidden = ids.clone(), hidden.clone()
    total = hidden.sum(dim=1)
    steps = max(1, min(steps, int(total.max()) if len(total) else 1))
    log_probability = torch.zeros(len(ids), dtype=torch.float64)
    fixed_at, fixed_with = torch.zeros_like(ids), torch.zeros(ids.shape, dtype=torch.float64, device=ids.device)
    nfe = 0
    for step in told(range(steps)):
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
            elif certain < 1:
                count = max(count, int((score >= math.log(certain)).sum()))
            chosen = score.topk(count).indices.to(places.device)
            ids[i, places[chosen]] = drawn[chosen]
            hidden[i, places[chosen]] = False
            fixed_at[i, places[chosen]], fixed_with[i, places[chosen]] = step + 1, log_p[chosen]
            log_probability[i] += float(log_p[chosen].sum())
            if floor is not None and log_probability[i] < floor[i]:
                hidden[i] = False
    return Sampled(ids, log_probability, nfe, fixed_at, fixed_with)
