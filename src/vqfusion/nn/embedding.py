"""Embedding of diffusion times."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

SLOWEST, FASTEST = 1.0, 1000.0  # angular frequencies, in radians per unit of time


class TimeEmbedding(nn.Module):
    """Times `[B]` in [0, 1] to `[B, dim]`: sines and cosines (Vaswani et al., 2017), then two linear layers."""

    def __init__(self, dim: int, features: int = 64):
        super().__init__()
        places = torch.linspace(0, 1, features // 2)
        self.register_buffer("rates", SLOWEST * (FASTEST / SLOWEST) ** places, persistent=False)
        self.layers = nn.Sequential(nn.Linear(features, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU())

    def forward(self, t: Float[Tensor, " B"]) -> Float[Tensor, "B dim"]:
        """Embedding of times in [0, 1]."""
        angles = (t[:, None] * self.rates.to(t.dtype)) % (2 * math.pi)
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=1).to(self.rates.dtype))
