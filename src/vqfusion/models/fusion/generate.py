"""Sampling and likelihood of one slot of Fusion, on tokens."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.config import SlotConfig
from vqfusion.diffusion.masked.guidance import classifier_free
from vqfusion.diffusion.masked.likelihood import negative_elbo
from vqfusion.diffusion.masked.samplers import Sampled, TokenDenoiser, sample_masked
from vqfusion.errors import UserError
from vqfusion.models.fusion.fusion import Fusion, GivenSlot, SlotTokens
from vqfusion.models.fusion.slots import patchify
from vqfusion.models.sampling import Sampling
from vqfusion.nn.transformer import PrefixCache


@dataclass(frozen=True)
class Policy:
    """Resolved sampling settings of one slot, with the meanings of `SlotConfig` and `Sampling`."""

    steps: int
    temperature: float
    guidance_scale: float
    top_p: float
    order: str
    certain: float = 1.0

    @classmethod
    def of(cls, sampling: Sampling, slot: SlotConfig) -> "Policy":
        """Requested settings, with the defaults of the slot.

        A slot that is greedy by default samples at temperature 1 where several samples are requested.
        """
        own = slot.temperature if slot.temperature > 0 or sampling.samples == 1 else 1.0
        if sampling.samples < 1 or (sampling.steps or 1) < 1 or (sampling.temperature or 0) < 0:
            raise UserError("samples and steps must be at least 1 and temperature at least 0")
        return cls(
            steps=sampling.steps or slot.steps,
            temperature=own if sampling.temperature is None else sampling.temperature,
            guidance_scale=slot.guidance_scale if sampling.guidance_scale is None else sampling.guidance_scale,
            top_p=1.0 if sampling.top_p is None else sampling.top_p,
            order=slot.sampling,
            certain=slot.certain,
        )


def slot_denoiser(fusion: Fusion, slot: str, mask: Bool[Tensor, "B ..."] | None, prefix: PrefixCache) -> TokenDenoiser:
    """Denoiser of a slot over its tokens in row-major order, given the cached prefix."""
    config = fusion.config.slots[slot]

    def denoise(ids: Int[Tensor, "B N"], hidden: Bool[Tensor, "B N"]) -> Float[Tensor, "B N K"]:
        sizes = config.shape if len(config.shape) > 1 else (ids.shape[1],)
        grid, hide = ids.reshape(-1, *sizes), hidden.reshape(-1, *sizes)
        logits = fusion.logits({slot: SlotTokens(grid, mask)}, {slot: hide}, prefix)[slot].flatten(1, 2)
        order = patchify(torch.arange(ids.shape[1]).reshape(1, *sizes), config.patch).flatten()
        return logits[:, order.argsort()]

    return denoise


def given_prefix(fusion: Fusion, given: dict[str, GivenSlot], batch: int) -> PrefixCache:
    """Prefix of the given slots in the order of the config, so that the order of arguments does not matter."""
    return fusion.prefix({name: given[name] for name in fusion.config.slots if name in given}, batch)


@torch.no_grad()
def sample_slot(
    fusion: Fusion,
    slot: str,
    start: SlotTokens,
    hidden: Bool[Tensor, "B ..."],
    prefix: PrefixCache,
    policy: Policy,
    generators: list[torch.Generator],
    floor: Float[Tensor, " B"] | None = None,
) -> Sampled:
    """Fill in the hidden tokens of a slot.

    Args:
        fusion: The transformer.
        slot: Target slot.
        start: Tokens `[B, *grid]` to begin from, with the mask of the real ones.
        hidden: True where a token is to be sampled; the others stay as in `start`.
        prefix: Cached keys and values of the given slots.
        policy: Steps, order, temperature and guidance.
        generators: One for each item.
        floor: Log probability below which an item is left unfinished.

    Returns:
        Ids, steps and log probabilities in the shape of `start.ids`, and the number of network evaluations.
    """
    denoiser = slot_denoiser(fusion, slot, start.mask, prefix)
    if policy.guidance_scale != 1.0:
        nothing = fusion.prefix({}, len(start.ids))
        denoiser = classifier_free(denoiser, slot_denoiser(fusion, slot, start.mask, nothing), policy.guidance_scale)
    out = sample_masked(
        denoiser,
        start.ids.flatten(1),
        hidden.flatten(1),
        policy.steps,
        generators,
        policy.order,
        policy.temperature,
        policy.top_p,
        policy.certain,
        floor,
    )
    nfe = out.nfe * (1 if policy.guidance_scale == 1.0 else 2)
    ids, steps, log_p = (one.reshape(start.ids.shape) for one in (out.ids, out.steps, out.log_p))
    return Sampled(ids, out.log_probability, nfe, steps, log_p)


@torch.no_grad()
def slot_distribution(fusion: Fusion, slot: str, prefix: PrefixCache) -> Float[Tensor, "B K"]:
    """Log probabilities of a slot with a single token."""
    batch = len(prefix.keys[0])
    device = prefix.keys[0].device
    ids = torch.zeros(batch, 1, dtype=torch.int64, device=device)
    logits = slot_denoiser(fusion, slot, None, prefix)(ids, torch.ones_like(ids, dtype=torch.bool))
    return logits[:, 0].double().log_softmax(dim=-1)


@torch.no_grad()
def slot_negative_elbo(
    fusion: Fusion, slot: str, tokens: SlotTokens, prefix: PrefixCache, draws: int, generator: torch.Generator
) -> Float[Tensor, " B"]:
    """Upper bound in nats on -log p(tokens of the slot | given).

    Args:
        fusion: The transformer.
        slot: Target slot.
        tokens: Its tokens `[B, *grid]`.
        prefix: Cached keys and values of the given slots.
        draws: Random maskings for each item; more make the estimate less noisy.
        generator: Draws the maskings.

    Returns:
        One bound for each item.
    """
    real = torch.ones_like(tokens.ids, dtype=torch.bool) if tokens.mask is None else tokens.mask
    denoiser = slot_denoiser(fusion, slot, tokens.mask, prefix)
    return negative_elbo(denoiser, tokens.ids.flatten(1), real.flatten(1), draws, generator)
