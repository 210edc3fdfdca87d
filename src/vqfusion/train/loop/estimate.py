"""Cost of a training, measured by a few steps of the real loop on random data."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from vqfusion.config import (
    StageConfig,
)
from vqfusion.nn.weights import count_parameters
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.signals import Interrupted

MOST_STEPS, BUDGET_S = 8, 3.0  # for each stage; at least one warm-up step and one timed step are made
COPIES = 5  # weights, gradients, two moments of Adam, average


@dataclass(frozen=True)
class Estimate:
    """Cost of one network. The memory of the process itself (torch, the data) comes on top.

    Attributes:
        name: Name of the network.
        parameters: Number of parameters.
        state_bytes: Weights, gradients, the two moments of Adam and the average, in float32.
        activation_bytes: What autograd kept for the backward pass of the largest measured step.
        seconds_per_step: Mean of the timed steps.
        steps: Number of training steps.
    """

    name: str
    parameters: int
    state_bytes: int
    activation_bytes: int
    seconds_per_step: float
    steps: int

    @property
    def peak_bytes(self) -> int:
        """Memory of state and activations."""
        return self.state_bytes + self.activation_bytes

    @property
    def seconds(self) -> float:
        """Duration of the training."""
        return self.seconds_per_step * self.steps


class _Enough(Exception):
    """All steps have been timed."""


def measure(
    name: str,
    network: nn.Module,
    batches: Callable[[int, int, int], Any],
    stage: StageConfig,
    accelerator: Accelerator,
) -> Estimate:
    """Run the training loop for a few seconds; time its steps and measure the memory of autograd."""
    starts: list[float] = []
    kept: dict[int, int] = {}
    peak = 0
    own = {p.data_ptr() for p in network.to(accelerator.device).parameters()}

    def watched(step: int, rank: int, processes: int) -> Any:
        nonlocal peak
        peak = max(peak, sum(kept.values()))
        kept.clear()
        starts.append(time.perf_counter())
        if len(starts) > MOST_STEPS or (len(starts) > 2 and starts[-1] - starts[0] > BUDGET_S):
            raise _Enough
        batch = batches(step, rank, processes)
        if isinstance(batch, Tensor):
            batch = batch.to(accelerator.device)
        return batch

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    endless = stage.model_copy(update={"steps": 10**6, "minutes": None, "checkpoint_every_s": float("inf")})
    with TemporaryDirectory() as folder, saved_tensors_hooks(weigh, lambda tensor: tensor):
        try:
            fit(network, watched, endless, Path(folder), "", accelerator, show=False)
        except _Enough:
            pass
        except Interrupted:
            raise KeyboardInterrupt from None
    timed = starts[1:]
    per_step = (timed[-1] - timed[0]) / (len(timed) - 1)
    numel = count_parameters(network)
    return Estimate(name, numel, COPIES * 4 * numel, peak, per_step, stage.steps)
