"""Fréchet distance between two sets of features, and a small network for features of one's own data."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def frechet_distance(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> float:
    """Squared 2-Wasserstein distance between Gaussians fitted to two sets of features.

    Its value is |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) (Dowson, Landau, 1982; Heusel et al., 2017, eq. 6),
    computed in float64. Zero for equal sets; comparable only between sets of equal size and of the same feature
    network.

    Raises:
        ValueError: Sets of fewer than two vectors, or of different dimensions.
    """
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two sets of at least two vectors of one width are needed, not {a.shape} and {b.shape}")
    a, b = a.double(), b.double()
    cov_a, cov_b = a.T.cov(), b.T.cov()
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    between = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * between)


class FeatureNetwork(nn.Module):
    """Classifier of small pictures `[B, 1, H, W]` in [0, 1] whose last hidden layer are the features `[B, 64]`."""

    def __init__(self, classes: int, width: int = 32):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 4, stride=2, padding=1),
            nn.GroupNorm(4, width),
            nn.SiLU(),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.GroupNorm(4, 2 * width),
            nn.SiLU(),
            nn.Conv2d(2 * width, 64, 4, stride=2, padding=1),
            nn.GroupNorm(4, 64),
            nn.SiLU(),
        )
        self.head = nn.Linear(64, classes)

    def features(self, pictures: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 64"]:
        """Features of pictures in [0, 1]."""
        return self.layers(pictures * 2 - 1).mean(dim=(2, 3))

    def forward(self, pictures: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B classes"]:
        """Logits of the classes."""
        return self.head(self.features(pictures))

    def loss(self, batch: tuple[Float[Tensor, "B 1 H W"], Int[Tensor, " B"]]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy, for the training loop."""
        pictures, labels = batch
        logits = self(pictures).float()
        return F.cross_entropy(logits, labels), {"accuracy": (logits.argmax(1) == labels).float().mean()}
