"""Processes and device of a training."""

import atexit

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs

from vqfusion.nn.weights import pick_device


def make_accelerator(device: str | None) -> Accelerator:
    """Set up processes and device of a training; UserError where the device is not available."""
    if device is not None:
        chosen = pick_device(device)
        if chosen.type == "cuda" and chosen.index is not None:
            torch.cuda.set_device(chosen)
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a step uses some of the slots only
    on_cpu = device == "cpu" or (device is None and not torch.accelerator.is_available())
    accelerator = Accelerator(
        cpu=on_cpu, kwargs_handlers=[unused]
    )  # without `cpu`, those on CPUs would not communicate
    if accelerator.num_processes > 1:
        atexit.register(_leave)
    return accelerator


def _leave() -> None:
    """Close the connections between processes; a process that exits with open ones may abort."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
