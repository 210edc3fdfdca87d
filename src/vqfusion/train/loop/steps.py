"""What belongs to one step: generators that depend on seed and step alone, and the share of a process."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vqfusion.diffusion.noise import torch_seed

Batches = Callable[[int, int, int], Tensor]


def step_generator(seed: int, step: int, item: int = 0) -> torch.Generator:
    """A generator for one item of one step; the same whatever was drawn before or on which process."""
    return torch.Generator().manual_seed(torch_seed((seed * 1_000_003 + step) * 4099 + item))


def share(items: Sequence, rank: int, processes: int) -> Sequence:
    """The contiguous part of a global batch that belongs to one process."""
    size = len(items) // processes
    return items[rank * size : (rank + 1) * size]
