"""Scores of all codes in chunks of rows, for quantizers whose gradient reaches every code."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

ROWS_PER_CHUNK = 1024  # rows of scores in memory at once; the backward pass recomputes each chunk


def over_rows(function: Callable[..., tuple[Tensor, ...]], x: Float[Tensor, "N D"], *shared: Tensor) -> tuple:
    """Apply `function(chunk, place, *shared)` to chunks of rows and join the results along their first axis.

    Chunks are recomputed in the backward pass, so that memory is `ROWS_PER_CHUNK` times the number of codes. Random
    draws of a chunk must be determined by its number `place`.
    """
    if torch.compiler.is_compiling() or len(x) <= ROWS_PER_CHUNK:
        return function(x, 0, *shared)
    parts = [
        checkpoint(function, chunk, place, *shared, use_reentrant=False, preserve_rng_state=False)
        for place, chunk in enumerate(x.split(ROWS_PER_CHUNK))
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def centered_scores(x: Float[Tensor, "N D"], codes: Float[Tensor, "K D"]) -> Float[Tensor, "N K"]:
    """-|x - c|^2 / 2 for every vector and code; centred, so that data far from zero suffer no cancellation."""
    center = codes.detach().mean(dim=0, keepdim=True)
    x, codes = x - center, codes - center
    half = x.square().sum(dim=1, keepdim=True) / 2
    return torch.addmm(-codes.square().sum(dim=1) / 2, x, codes.t()) - half


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise: -log of a standard exponential variable."""
    return torch.empty(shape, device=generator.device).exponential_(generator=generator).log().neg()


def entropy(log_probabilities: Float[Tensor, "N K"]) -> Float[Tensor, " N"]:
    """Entropy of each row in nats."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=1)


def entropy_of(probabilities: Float[Tensor, " K"]) -> Float[Tensor, ""]:
    """Entropy of one distribution in nats, with a finite gradient where a probability is zero."""
    return -(probabilities * probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()).sum()


def mixture_of_codes(
    x: Float[Tensor, "N D"],
    codes: Float[Tensor, "K D"],
    precision: Float[Tensor, ""],
    temperature: Float[Tensor, ""],
    seed: int | None = None,
) -> tuple[Float[Tensor, "N D"], Int[Tensor, " N"], Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Relaxed quantization with p_k = softmax_k(-`precision` |x - c_k|^2 / 2).

    The weights w of the mixture are p, or with a seed a Gumbel-softmax sample from p: Jang, Gu, Poole (2016); Maddison,
    Mnih, Teh (2016).

    Args:
        x: Vectors.
        codes: Code vectors.
        precision: Inverse variance.
        temperature: Temperature of the Gumbel-softmax sample.
        seed: Seed of the sample; None takes p itself.

    Returns:
        The mixture sum_k w_k c_k, the index of the largest w_k, the entropy of p in nats, and its mean energy sum_k p_k
        `precision` |x - c_k|^2 / 2.
    """

    def chunk(x: Tensor, place: int, codes: Tensor, precision: Tensor, temperature: Tensor):
        logits = precision * centered_scores(x, codes)
        log_p = logits.log_softmax(dim=1)
        weights = log_p.exp()
        energy = -(weights * logits).sum(dim=1)
        if seed is not None:
            generator = torch.Generator(x.device).manual_seed(seed + place)
            weights = ((log_p + gumbel_noise(tuple(log_p.shape), generator)) / temperature).softmax(dim=1)
        return weights @ codes, weights.argmax(dim=1), entropy(log_p), energy

    return over_rows(chunk, x, codes, precision, temperature)
