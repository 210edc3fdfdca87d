"""What the contracts of quantizers are checked on: small grids and vectors near the codes."""

import torch
from torch import Tensor

from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.types import Quantized


def grids(quantizer: Quantizer) -> list[tuple[int, ...]]:
    """A small grid of each rank from 1 to 3."""
    f = quantizer.downsampling
    return [(5 * f,), (2 * f, 3 * f), (2 * f, f, 2 * f)]


def example(quantizer: Quantizer, grid: tuple[int, ...], seed: int = 0, batch: int = 2) -> Tensor:
    """Vectors `[B, *grid, dim]`: random codes plus noise of 0.3 times the standard deviation of the codes."""
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randint(quantizer.codebook_size, (batch, *quantizer.index_shape(grid)), generator=generator)
    codes = quantizer.lookup(indices).detach()
    return codes + 0.3 * codes.std() * torch.randn(codes.shape, generator=generator)


def trained(quantizer: Quantizer) -> Quantizer:
    """The quantizer in training mode after one batch and update, so that its codebook is initialised."""
    quantizer.train()
    call(quantizer, example(quantizer, grids(quantizer)[1], seed=9, batch=8))
    quantizer.update()
    return quantizer


def call(quantizer: Quantizer, x: Tensor, mask: Tensor | None = None) -> Quantized:
    """Quantize vectors `x` `[B, *grid, dim]`, whatever the layout of the quantizer."""
    return quantizer(x.movedim(-1, 1) if quantizer.channel_first else x, mask)


def last(quantizer: Quantizer, x: Tensor) -> Tensor:
    """Output `x` `[B, ..., dim]` or `[B, dim, ...]` of the quantizer with the vector axis last."""
    return x.movedim(1, -1) if quantizer.channel_first else x
