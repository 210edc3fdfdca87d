"""Random noise, drawn for each item from its own generator, so that it does not depend on the batch."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Generators = Sequence[torch.Generator]


def draw_noise(
    shape: Sequence[int],
    generators: Generators,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Float[Tensor, "B ..."]:
    """Standard normal numbers `[B, *shape]`, drawn on the device of the generators.

    Args:
        shape: Shape of one item.
        generators: One generator for each item.
        dtype: Type of the numbers.
        device: Device of the result; that of the generators by default.

    Returns:
        The noise.
    """
    drawn = [torch.randn(*shape, generator=g, dtype=dtype, device=g.device) for g in generators]
    return torch.stack(drawn).to(device) if device else torch.stack(drawn)


def torch_seed(seed: int) -> int:
    """Seed for torch from any integer: unchanged within 64 bits, wrapped around otherwise."""
    return seed % 2**64


def seeded(seed: int, batch: int) -> list[torch.Generator]:
    """CPU generators of `batch` items; item i has the seed `seed + i`."""
    return [torch.Generator().manual_seed(torch_seed(seed + i)) for i in range(batch)]
