"""Context model: mean and scale of each quantized latent, given those that are coded before it."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import PhotoTokenizerConfig

# within a group of channels the neighbours W, N, NW, NE are known; of earlier groups all nine
CAUSAL = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
DENSE = 3  # first channels, the means of blocks, which are like those of the neighbours
CENTRE, HALF_RANGE = 6.0, 1.75  # of log2 of the quantization step in grey levels: what networks are told of it


class Group(nn.Module):
    """Network of one group of channels; `before` channels are coded earlier."""

    def __init__(self, before: int, size: int, hidden: int):
        super().__init__()
        self.before, self.size = before, size
        self.enter = nn.Conv2d(2 * (before + size), hidden, 3, padding=1)
        self.of_step = nn.Linear(2, hidden, bias=False)
        self.middle = nn.Conv2d(hidden, hidden, 1)
        self.leave = nn.Conv2d(hidden, 2 * size, 1)
        self.linear = nn.Parameter(torch.zeros(size, 1, 3, 3))
        self.prior = nn.Linear(2, size)  # logarithm of the scale without context
        mask = torch.cat([torch.ones(before, 3, 3), CAUSAL.expand(size, 3, 3)])
        self.register_buffer("mask", torch.cat([mask, mask]), persistent=False)
        self.register_buffer("causal", CAUSAL.clone(), persistent=False)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)
        with torch.no_grad():
            self.enter.weight.mul_(2.0)

    def forward(
        self, features: Float[Tensor, "B F h w"], q: Float[Tensor, "B D h w"], step: Float[Tensor, "B 2"]
    ) -> tuple[Float[Tensor, "B S h w"], Float[Tensor, "B S h w"]]:
        """Mean and logarithm of the scale of the channels of the group."""
        n = self.before + self.size
        known = torch.cat([features[:, :n], features[:, features.shape[1] // 2 :][:, :n]], dim=1)
        hidden = F.conv2d(known, self.enter.weight * self.mask, self.enter.bias, padding=1)
        hidden = (hidden + self.of_step(step)[:, :, None, None]).relu()
        hidden = self.middle(hidden).relu()
        mean, scale = self.leave(hidden).chunk(2, dim=1)
        scale = scale + self.prior(step)[:, :, None, None]
        own = q[:, self.before : n]
        return mean + F.conv2d(own, self.linear * self.causal, padding=1, groups=self.size), scale

    @torch.no_grad()
    def begin(self, spread: Float[Tensor, " S"]) -> None:
        """Set the first scales to standard deviations at the middle step, and the first means to the neighbours'."""
        self.prior.bias.copy_((0.6 * spread).clamp(min=0.05).log())
        self.prior.weight.copy_(torch.tensor([-HALF_RANGE * math.log(2), 0.0]).expand(self.size, 2))
        if self.before < DENSE:
            self.linear[:, 0, 0, 1] = self.linear[:, 0, 1, 0] = 0.5


class ContextModel(nn.Module):
    """p(q) as a product over groups of channels, and within a group over positions in raster order.

    Minnen, Ballé, Toderici (2018), "Joint autoregressive and hierarchical priors", in groups of channels as Minnen,
    Singh (2020). Each value has a discretised logistic distribution.
    """

    def __init__(self, config: PhotoTokenizerConfig):
        super().__init__()
        self.groups = nn.ModuleList()
        before = 0
        for size in config.groups:
            self.groups.append(Group(before, size, config.context_width))
            before += size

    def forward(
        self, q: Float[Tensor, "B D h w"], step: Float[Tensor, "B 2"]
    ) -> tuple[Float[Tensor, "B D h w"], Float[Tensor, "B D h w"]]:
        """Mean and scale of every latent, in quantization steps."""
        features = features_of(q)
        out = [group(features, q, step) for group in self.groups]
        mean = torch.cat([one[0] for one in out], dim=1)
        scale = torch.cat([one[1] for one in out], dim=1).clamp(-3.5, 4.2).exp()
        return mean, scale


def features_of(q: Float[Tensor, "B D h w"]) -> Float[Tensor, "B F h w"]:
    """sign(q) log2(1 + |q|), and the same without the sign."""
    size = (1 + q.abs()).log2()
    return torch.cat([q.sign() * size, size], dim=1)


def bits_of(q: Float[Tensor, "..."], mean: Float[Tensor, "..."], scale: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """-log2 of the probability of [q - 1/2, q + 1/2] under a logistic distribution."""
    away = (q - mean).abs()
    upper, lower = (0.5 - away) / scale, (-0.5 - away) / scale
    p = upper.sigmoid() - lower.sigmoid()
    return -p.clamp(min=1e-6).log2()
