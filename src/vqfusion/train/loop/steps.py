"""What belongs to one step: generators that depend on seed and step alone, and the share of a process."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError

Batches = Callable[[int, int, int], Tensor]


def step_generator(seed: int, step: int, item: int = 0) -> torch.Generator:
    """A generator for one item of one step; the same whatever was drawn before or on which process."""
    return torch.Generator().manual_seed(torch_seed((seed * 1_000_003 + step) * 4099 + item))


def share(items: Sequence, rank: int, processes: int) -> Sequence:
    """The contiguous part of a global batch that belongs to one process; the parts differ by one item at most.

    UserError where there are fewer items than processes.
    """
    require_batch(len(items), processes)
    return items[rank * len(items) // processes : (rank + 1) * len(items) // processes]


def require_batch(batch: int, processes: int) -> None:
    """UserError where some process would have nothing to do."""
    if batch < processes:
        raise UserError(f"a batch of {batch} is too small for {processes} processes; raise `batch` or start fewer")


def share_of(batch: Any, accelerator: Accelerator) -> float:
    """Share of the items of a step that this process has: what its mean loss weighs in that of all processes."""
    if accelerator.num_processes == 1:
        return 1.0
    own = torch.tensor(float(count_items(batch)), dtype=torch.float64, device=accelerator.device)
    return float(own / accelerator.reduce(own))


def count_items(batch: Any) -> int:
    """Items of a batch: the rows of a tensor, the sum over a list, or what the batch says."""
    if isinstance(batch, Tensor):
        return len(batch)
    return sum(map(count_items, batch)) if isinstance(batch, list) else batch.items
