"""Guidance: takes denoisers and gives a denoiser."""

from jaxtyping import Bool, Int
from torch import Tensor

from vqfusion.diffusion.masked.samplers import TokenDenoiser


def classifier_free(conditional: TokenDenoiser, unconditional: TokenDenoiser, guidance_scale: float) -> TokenDenoiser:
    """Ho, Salimans (2022) on log probabilities: u + s (c - u); s = 1 is the conditional model and costs one call."""
    if guidance_scale == 1.0:
        return conditional

    def guided(ids: Int[Tensor, "B N"], hidden: Bool[Tensor, "B N"]) -> Tensor:
        c = conditional(ids, hidden).double().log_softmax(dim=-1)
        u = unconditional(ids, hidden).double().log_softmax(dim=-1)
        return u + guidance_scale * (c - u)

    return guided
