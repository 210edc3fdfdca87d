"""Parts of one step: generators that depend on seed and step only, and the share of each process."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError

Batches = Callable[[int, int, int], Tensor]


def step_generator(seed: int, step: int, item: int = 0) -> torch.Generator:
    """Generator for one item of one step, independent of earlier draws and of the process."""
    return torch.Generator().manual_seed(torch_seed((seed * 1_000_003 + step) * 4099 + item))


def share(items: Sequence, rank: int, processes: int) -> Sequence:
    """Contiguous part of a global batch for one process; sizes differ by one item at most.

    Raises:
        UserError: There are fewer items than processes.
    """
    require_batch(len(items), processes)
    return items[rank * len(items) // processes : (rank + 1) * len(items) // processes]


def batches_of(draw: Callable[[torch.Generator], Tensor], batch: int, seed: int) -> Batches:
    """Function from the step to a batch `[batch, ...]` of items, each drawn by `draw` with its own generator."""

    def batches(step: int, rank: int, processes: int) -> Tensor:
        items = share(range(batch), rank, processes)
        return torch.stack([draw(step_generator(seed, step, item)) for item in items])

    return batches


def require_batch(batch: int, processes: int) -> None:
    """Raise UserError where a process would have no items."""
    if batch < processes:
        raise UserError(f"a batch of {batch} is too small for {processes} processes; raise `batch` or start fewer")


def share_of(batch: Any, accelerator: Accelerator) -> float:
    """Fraction of the items of a step in this process: the weight of its mean loss."""
    if accelerator.num_processes == 1:
        return 1.0
    own = torch.tensor(float(count_items(batch)), dtype=torch.float64, device=accelerator.device)
    return float(own / accelerator.reduce(own))


def count_items(batch: Any) -> int:
    """Number of items of a batch: rows of a tensor, sum over a list, or its `items`."""
    if isinstance(batch, Tensor):
        return len(batch)
    return sum(map(count_items, batch)) if isinstance(batch, list) else batch.items
