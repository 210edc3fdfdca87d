"""Noise that each item draws from a generator of its own, so that it does not depend on the batch."""

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
    """Standard normal numbers `[B, *shape]`, one generator for each item, drawn on the generators' device."""
    drawn = [torch.randn(*shape, generator=g, dtype=dtype, device=g.device) for g in generators]
    return torch.stack(drawn).to(device) if device else torch.stack(drawn)


def torch_seed(seed: int) -> int:
    """A seed that torch takes, from any whole number: those within 64 bits stay what they are, larger ones wrap."""
    return seed % 2**64


def seeded(seed: int, batch: int) -> list[torch.Generator]:
    """CPU generators of `batch` items: item i has seed `seed + i`."""
    return [torch.Generator().manual_seed(torch_seed(seed + i)) for i in range(batch)]
