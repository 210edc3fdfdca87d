"""Whether a picture or a sound is like those that a tokenizer was trained on.

Mahalanobis distance of latents to those of training data: Lee, Lee, Lee, Shin (2018), "A simple unified framework for
detecting out-of-distribution samples and adversarial attacks". Here of the mean latents: of a picture those at the
border, which on photographs told more than those of the whole picture (docs/decisions.md), of a sound all.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

UNLIKE = "unlike those that this model was trained on"
RIDGE = 0.01  # added to the covariance, as a part of its mean variance


@dataclass(frozen=True)
class Familiarity:
    """Distribution of the mean latents of training data.

    Attributes:
        mean: Mean of the features.
        precision: Inverse of their covariance.
        most: Largest distance among samples that were kept from training.
    """

    mean: Float[Tensor, " D"]
    precision: Float[Tensor, "D D"]
    most: float

    @classmethod
    def fit(cls, trained: Float[Tensor, "N D"], kept_from_training: Float[Tensor, "M D"]) -> "Familiarity":
        """Fit to the features of training data, with the threshold from samples that were kept from training."""
        x = trained.double()
        covariance = torch.cov(x.T)
        covariance = covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance)).double()
        fitted = cls(x.mean(0).float(), torch.linalg.inv(covariance).float(), 0.0)
        return cls(fitted.mean, fitted.precision, float(fitted.distance(kept_from_training).max()))

    def distance(self, features: Float[Tensor, "B D"]) -> Float[Tensor, " B"]:
        """Mahalanobis distance of features."""
        away = features.cpu().float() - self.mean
        return ((away @ self.precision) * away).sum(1).clamp(min=0).sqrt()

    def tensors(self) -> dict[str, Tensor]:
        """Content of a file."""
        return {"mean": self.mean, "precision": self.precision, "most": torch.tensor([self.most])}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "Familiarity":
        """From the content of a file; ValueError where it is not that of a familiarity."""
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        width = shapes.get("mean", (0,))[0:1]
        if shapes != {"mean": width, "precision": width * 2, "most": (1,)}:
            raise ValueError("holds no distribution of latents")
        if not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise ValueError("its distribution of latents is not finite")
        return cls(tensors["mean"].float(), tensors["precision"].float(), float(tensors["most"]))


def at_border(latents: Float[Tensor, "B D H W"]) -> Float[Tensor, "B D"]:
    """Mean latents of the first and last row and column, each side with the same weight."""
    sides = latents[:, :, 0], latents[:, :, -1], latents[..., 0], latents[..., -1]
    return torch.stack([side.mean(-1) for side in sides]).mean(0)
