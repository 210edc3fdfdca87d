"""Weights of the denoising loss over time, right for every kind of prediction."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.types import PredictionKind


def loss_weight(
    weighting: str, path: GaussianPath, kind: PredictionKind, t: Float[Tensor, " B"], gamma: float = 5.0
) -> Float[Tensor, " B"]:
    """Factor of the squared error of a prediction of this kind.

    `simple`: 1, whatever is predicted: Ho et al. (2020), eq. 14. The others are weights of the squared error of
    x_0, of which a kind with determinant D (`GaussianPath.determinant`) makes (D / sigma)^2 as much:
    `min_snr`: min(SNR, gamma), Hang et al. (2023); `edm`: 1 / c_out^2, so that an error of v weighs 1 at
    every time, Karras et al. (2022), table 1; `elbo`: -SNR'(t) / 2, with times drawn uniformly a variational
    bound, Kingma et al. (2021), section 5.
    """
    if weighting == "simple":
        return torch.ones_like(path.sigma(t))
    if weighting == "edm":
        return (path.determinant("v", t) / path.determinant(kind, t)).square()
    alpha, sigma, determinant = path.alpha(t), path.sigma(t), path.determinant(kind, t)
    if weighting == "min_snr":
        return torch.minimum(alpha.square(), gamma * sigma.square()) / determinant.square()
    if weighting == "elbo":
        return -path.d_log_snr(t) / 2 * (alpha / determinant).square()
    raise ValueError(f"weighting {weighting!r} is not one of simple, min_snr, edm, elbo")


class UncertaintyWeighting(nn.Module):
    """loss / exp(u(t)) + u(t) with a learned u: every time weighs the inverse of its expected loss.

    Kendall, Gal, Cipolla (2018); over noise levels Karras et al. (2024). u is linear in Fourier features of t
    and starts at zero. Used in training only.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, features: int = 64):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("frequencies", torch.randn(features, generator=generator) * 2 * torch.pi)
        self.register_buffer("phases", torch.rand(features, generator=generator) * 2 * torch.pi)
        self.linear = nn.Linear(features, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def log_uncertainty(self, t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """u(t)."""
        return self.linear((t.float()[:, None] * self.frequencies + self.phases).cos() * 2**0.5)[:, 0]

    def forward(self, losses: Float[Tensor, " B"], t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        u = self.log_uncertainty(t)
        return losses / u.exp() + u
