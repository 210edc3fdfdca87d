"""Weights of the denoising loss over time, for every kind of prediction."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.types import PredictionKind


def loss_weight(
    weighting: str, path: GaussianPath, kind: PredictionKind, t: Float[Tensor, " B"], gamma: float = 5.0
) -> Float[Tensor, " B"]:
    """Factor of the squared error of a prediction of this kind.

    The weights other than `simple` are defined for the squared error of x_0; a kind with determinant D
    (`GaussianPath.determinant`) has (D / sigma)^2 times that error.

    Args:
        weighting: `simple`, 1 for every kind: Ho et al. (2020), eq. 14; `min_snr`, min(SNR, gamma): Hang et al. (2023);
            `edm`, 1 / c_out^2, which gives errors of v the weight 1 at every time: Karras et al. (2022), table 1;
            `elbo`, -SNR'(t) / 2, which with uniform times is a variational bound: Kingma et al. (2021), section 5.
        path: The path.
        kind: Kind of the prediction.
        t: Times.
        gamma: Cap of `min_snr`.

    Returns:
        One factor for each item.

    Raises:
        ValueError: Unknown weighting.
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
    """loss / exp(u(t)) + u(t) with a learned u, which weights every time by the inverse of its expected loss.

    Kendall, Gal, Cipolla (2018); over noise levels Karras et al. (2024). u is linear in Fourier features of t and
    starts at zero. Used in training only.
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
        """u(t), the log of the expected loss."""
        return self.linear((t.float()[:, None] * self.frequencies + self.phases).cos() * 2**0.5)[:, 0]

    def forward(self, losses: Float[Tensor, " B"], t: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Weighted loss of each item."""
        u = self.log_uncertainty(t)
        return losses / u.exp() + u
