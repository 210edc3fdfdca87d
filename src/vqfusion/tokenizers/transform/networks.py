"""Analysis and synthesis transform of a transform codec: a linear transform of blocks plus convolutions."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import PhotoTokenizerConfig

CELL = 16  # pixels a side of the block of one latent vector
LEAK = 0.1


class Block(nn.Module):
    """Two convolutions with a skip connection; the quantization step enters as an offset of each channel."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.of_step = nn.Linear(2, width, bias=False)
        nn.init.zeros_(self.of_step.weight)
        nn.init.normal_(self.second.weight, std=0.01)

    def forward(self, x: Float[Tensor, "B C H W"], step: Float[Tensor, "B 2"]) -> Float[Tensor, "B C H W"]:
        """Output for features `x` and the code of the step."""
        hidden = self.first(x) + self.of_step(step)[:, :, None, None]
        return x + self.second(F.leaky_relu(hidden, LEAK))


class Level(nn.Module):
    """Convolution to a width, then blocks; all at one resolution."""

    def __init__(self, channels: int, width: int, depth: int):
        super().__init__()
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x: Float[Tensor, "B C H W"], step: Float[Tensor, "B 2"]) -> Float[Tensor, "B O H W"]:
        """Features of `x`."""
        x = self.enter(x)
        for block in self.blocks:
            x = block(x, step)
        return x


class Analysis(nn.Module):
    """Pictures to latents, 1/16 as wide and high: `basis x` of each block, plus what convolutions add."""

    def __init__(self, config: PhotoTokenizerConfig):
        super().__init__()
        width = config.analysis_width
        self.basis = nn.Parameter(torch.eye(config.dim, 3 * CELL**2))
        self.radius = -(-(1 + 2 * config.analysis_depth) // 2)  # of the receptive field, in blocks
        self.level = Level(3 * 8 * 8, width, config.analysis_depth)
        self.leave = nn.Conv2d(4 * width, config.dim, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Float[Tensor, "B 3 H W"], step: Float[Tensor, "B 2"]) -> Float[Tensor, "B D h w"]:
        """Latents in the units of `x`, as for an orthonormal basis."""
        blocks = F.pixel_unshuffle(x, CELL)
        hidden = self.level(F.pixel_unshuffle(x, 8), step)
        hidden = F.pixel_unshuffle(F.leaky_relu(hidden, LEAK), 2)
        return F.conv2d(blocks, self.basis[:, :, None, None]) + self.leave(hidden)


class Synthesis(nn.Module):
    """Latents to pictures: the transposed basis, and convolutions at 1/16, 1/8 and 1/4 of the resolution that add."""

    spread: Tensor

    def __init__(self, config: PhotoTokenizerConfig):
        super().__init__()
        self.basis = nn.Parameter(torch.eye(config.dim, 3 * CELL**2))
        self.register_buffer("spread", torch.ones(config.dim))  # of the latents: what the convolutions divide them by
        coarse, middle, fine = config.synthesis_widths
        depths = config.synthesis_depths
        cells = [(1 + 2 * depth) / 2**i for i, depth in enumerate(depths)]
        self.radius = math.ceil(sum(cells) + 1 / 4)  # of the receptive field, in blocks
        self.coarse = Level(config.dim, coarse, depths[0])
        self.middle = Level(coarse // 4 + 3 * 8 * 8, middle, depths[1])
        self.up = nn.Conv2d(middle, 4 * fine, 1)
        self.fine = Level(fine + 3 * 4 * 4, fine, depths[2])
        self.leave = nn.Conv2d(fine, 3 * 4 * 4, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, z: Float[Tensor, "B D h w"], step: Float[Tensor, "B 2"]) -> Float[Tensor, "B 3 H W"]:
        """Picture of latents."""
        linear = F.pixel_shuffle(F.conv2d(z, self.basis.T[:, :, None, None]), CELL)
        hidden = F.pixel_shuffle(F.leaky_relu(self.coarse(z / self.spread[:, None, None], step), LEAK), 2)
        hidden = self.middle(torch.cat([hidden, F.pixel_unshuffle(linear, 8)], dim=1), step)
        hidden = F.pixel_shuffle(self.up(F.leaky_relu(hidden, LEAK)), 2)
        hidden = self.fine(torch.cat([hidden, F.pixel_unshuffle(linear, 4)], dim=1), step)
        return linear + F.pixel_shuffle(self.leave(F.leaky_relu(hidden, LEAK)), 4)
