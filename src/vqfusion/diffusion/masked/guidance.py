"""Classifier-free guidance of masked diffusion."""

from jaxtyping import Bool, Int
from torch import Tensor

from vqfusion.diffusion.masked.samplers import TokenDenoiser


def classifier_free(conditional: TokenDenoiser, unconditional: TokenDenoiser, guidance_scale: float) -> TokenDenoiser:
    """Classifier-free guidance on log probabilities: Ho, Salimans (2022).

    The result is u + s (c - u) with s = `guidance_scale`; s = 1 is the conditional denoiser, with one evaluation
    instead of two.

    Args:
        conditional: Denoiser with the condition.
        unconditional: Denoiser without it.
        guidance_scale: Scale s.

    Returns:
        The guided denoiser.
    """
    if guidance_scale == 1.0:
        return conditional

    def guided(ids: Int[Tensor, "B N"], hidden: Bool[Tensor, "B N"]) -> Tensor:
        c = conditional(ids, hidden).double().log_softmax(dim=-1)
        u = unconditional(ids, hidden).double().log_softmax(dim=-1)
        return u + guidance_scale * (c - u)

    return guided
