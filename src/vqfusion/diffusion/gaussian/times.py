"""Distributions of training times over [0, 1], each as a map from uniform numbers, which may be stratified."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.path import GaussianPath


def independent_places(batch: int, generator: torch.Generator) -> Float[Tensor, " B"]:
    """Independent uniform numbers in (0, 1), float64."""
    return torch.rand(batch, generator=generator, dtype=torch.float64, device=generator.device).clamp(min=1e-12)


def stratified_places(batch: int, generator: torch.Generator) -> Float[Tensor, " B"]:
    """One uniform number in each of `batch` equal parts of (0, 1), in random order; each is uniform in (0, 1)."""
    order = torch.randperm(batch, generator=generator, device=generator.device)
    return (order + independent_places(batch, generator)) / batch


def uniform_times(places: Float[Tensor, " B"], lowest: float = 0.0, highest: float = 1.0) -> Float[Tensor, " B"]:
    """Times uniform in [`lowest`, `highest`], from uniform numbers."""
    return lowest + (highest - lowest) * places


def logit_normal_times(places: Float[Tensor, " B"], mean: float = 0.0, std: float = 1.0) -> Float[Tensor, " B"]:
    """Times with logit(t) ~ N(mean, std^2), which favours the middle: Esser et al. (2024)."""
    return torch.sigmoid(mean + std * torch.special.ndtri(places))


def log_normal_times(
    places: Float[Tensor, " B"], path: GaussianPath, mean: float = -1.2, std: float = 1.2
) -> Float[Tensor, " B"]:
    """Times with log(sigma / alpha) ~ N(mean, std^2), clipped to the path: Karras et al. (2022), table 1.

    Args:
        places: Uniform numbers in (0, 1).
        path: Path that maps noise levels to times.
        mean: Mean of log(sigma / alpha).
        std: Standard deviation of log(sigma / alpha).

    Returns:
        Times in [0, 1].
    """
    return path.time_of_noise((mean + std * torch.special.ndtri(places)).exp())
