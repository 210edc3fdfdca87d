"""Softmax over all codes in chunks of vectors, recomputed in the backward pass.

Memory is that of one chunk of scores, not of all N x K.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_SCORES = 2**20

Logits = Callable[[Tensor, Tensor, Tensor], Tensor]


def distance_logits(
    x: Float[Tensor, "N D"], codebook: Float[Tensor, "K D"], scale: Float[Tensor, ""]
) -> Float[Tensor, "N K"]:
    """Logits -scale |x - c_k|^2, up to a constant per vector that cancels in the softmax.

    Vectors and codes are centred first, against cancellation in float32. A Gaussian of standard deviation s has `scale
    = 1 / (2 s^2)`.
    """
    center = codebook.detach().mean(dim=0)
    codes, vectors = codebook - center, x - center
    return scale * torch.addmm(-codes.square().sum(dim=1), vectors, codes.t(), alpha=2)


def dot_logits(
    x: Float[Tensor, "N D"], codebook: Float[Tensor, "K D"], scale: Float[Tensor, ""]
) -> Float[Tensor, "N K"]:
    """Logits scale x . c_k, the cosine similarity for vectors and codes of length 1."""
    return scale * (x @ codebook.t())


def soft_codes(
    x: Float[Tensor, "N D"],
    codebook: Float[Tensor, "K D"],
    scale: float | Float[Tensor, ""],
    logits: Logits = distance_logits,
) -> Float[Tensor, "N D"]:
    """Mean of the codes under p(k | x) = softmax_k of the logits.

    Differentiable in x, codebook and scale; tends to the nearest code as `scale` grows. Computed in float32 or wider,
    whatever the autocast setting. Forward and backward pass take the memory of one chunk of scores and a few arrays of
    the sizes of `x` and `codebook`.

    Args:
        x: Vectors.
        codebook: Code vectors.
        scale: Factor of the logits.
        logits: `distance_logits` or `dot_logits`.

    Returns:
        One vector for each of x.
    """

    def mean_code(chunk: Tensor, codebook: Tensor, scale: Tensor) -> Tensor:
        center = codebook.detach().mean(dim=0)
        return torch.softmax(logits(chunk, codebook, scale), dim=1) @ (codebook - center) + center

    return torch.cat(_stream(mean_code, (x,), codebook, scale))


def code_entropy(
    x: Float[Tensor, "N D"],
    codebook: Float[Tensor, "K D"],
    scale: float | Float[Tensor, ""],
    mask: Bool[Tensor, " N"] | None = None,
    logits: Logits = distance_logits,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean entropy of p(k | x) over the vectors, and entropy of the mean of p(k | x), in nats.

    The second minus the first is the mutual information of vectors and codes: a loss that lowers the first makes
    assignments certain, one that raises the second spreads them over all codes (entropy penalty of Yu et al., 2023,
    "MAGVIT-v2", eq. 4). Differentiable in x, codebook and scale.

    Args:
        x: Vectors.
        codebook: Code vectors.
        scale: Factor of the logits.
        mask: True = real; other vectors are excluded.
        logits: `distance_logits` or `dot_logits`.

    Returns:
        Both entropies.
    """
    real = x.new_ones(len(x), dtype=torch.bool) if mask is None else mask

    def sums(chunk: Tensor, real: Tensor, codebook: Tensor, scale: Tensor) -> Tensor:
        chunk = torch.where(real[:, None], chunk, 0.0)
        log_p = torch.log_softmax(logits(chunk, codebook, scale), dim=1)
        p = log_p.exp() * real[:, None]
        return torch.cat([p.sum(dim=0), -(p * log_p).sum().reshape(1)])

    mean = torch.stack(_stream(sums, (x, real), codebook, scale)).sum(dim=0) / real.sum().clamp(min=1)
    usage, smallest = mean[:-1], torch.finfo(mean.dtype).tiny  # keeps the gradient of unused codes finite
    return mean[-1], -(usage * usage.clamp(min=smallest).log()).sum()


def _stream(
    function: Callable[..., Tensor],
    rows: tuple[Tensor, ...],
    codebook: Float[Tensor, "K D"],
    scale: float | Float[Tensor, ""],
) -> list[Tensor]:
    """Apply `function(*chunks, codebook, scale)` to chunks of rows; only the chunks are kept for the backward pass."""
    x, *others = rows
    wide = torch.promote_types(torch.promote_types(x.dtype, codebook.dtype), torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        x, codebook, scale = x.to(wide), codebook.to(wide), torch.as_tensor(scale, dtype=wide, device=x.device)
        size = max(CHUNK_SCORES // len(codebook), 1)
        if len(x) <= size:
            return [function(x, *others, codebook, scale)]
        return [
            checkpoint(function, *chunks, codebook, scale, use_reentrant=False, preserve_rng_state=False)
            for chunks in zip(*(part.split(size) for part in (x, *others)), strict=True)
        ]
