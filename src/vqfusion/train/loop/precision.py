"""Precision and memory format of a training: as asked for, as before, or by a trial of its own network."""

import copy
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from vqfusion.config import StageConfig
from vqfusion.nn.arithmetic import Arithmetic, candidates, fastest, summary, timed

SECONDS = 1.0  # of a trial, where steps are short
WORTH_S = 60.0  # shorter trainings stay in float32


def loss_in(arithmetic: Arithmetic, module: Any, batch: Any) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss of a batch and its report in a given arithmetic."""
    device = next(module.parameters()).device.type
    # on CPU the fused attention's backward is slower than plain products for sequences of under 100 tokens
    backends = [SDPBackend.MATH] if device == "cpu" else list(SDPBackend.__members__.values())
    with sdpa_kernel(backends), arithmetic.autocast(device):
        found: tuple[torch.Tensor, dict[str, torch.Tensor]] = module.loss(batch)
        return found


def choose(
    module: nn.Module, batch: Any, stage: StageConfig, steps: int, before: str, accelerator: Accelerator
) -> tuple[Arithmetic, str]:
    """Arithmetic of a training, and a line that says why.

    `precision: auto` tries float32 and what else the device is good at, forward and backward, on a copy of the module.
    A resumed training keeps the choice that its checkpoint names, so that it continues exactly; all processes take
    that of the first one.

    Args:
        module: The module.
        batch: A batch of the training.
        stage: Its settings.
        steps: Steps that are still to be made.
        before: Choice in the checkpoint; empty where there is none.
        accelerator: Processes and device.

    Returns:
        The arithmetic, and the line, which is empty where nothing was tried.
    """
    if stage.precision != "auto":
        return Arithmetic(stage.precision == "bf16"), ""
    if before:
        return Arithmetic.of(before), ""
    times = _trial(module, batch, steps, accelerator)
    chosen = [fastest(times)]
    if accelerator.num_processes > 1:
        broadcast_object_list(chosen)
    return chosen[0], summary(chosen[0], times) if len(times) > 1 else ""


def _trial(module: nn.Module, batch: Any, steps: int, accelerator: Accelerator) -> dict[Arithmetic, float]:
    """Seconds of one forward and backward pass in each way; only of float32 where the training is short."""
    ways, times = candidates(module, accelerator.device.type), dict[Arithmetic, float]()
    devices = [] if accelerator.device.type == "cpu" else [accelerator.device]
    with torch.random.fork_rng(devices), saved_tensors_hooks(_same, _same):
        tried = copy.deepcopy(module)
        for way in ways:
            way.arrange(tried)

            def step(way: Arithmetic = way) -> None:
                tried.zero_grad(set_to_none=True)
                loss_in(way, tried, batch)[0].backward()

            if not times:
                step()  # what only the very first call of a process costs
            times[way] = timed(step, accelerator.device, SECONDS / len(ways))
            if not way.bfloat16 and not way.channels_last and times[way] * steps < WORTH_S:
                break
    return times


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
