"""Processes and device of a training."""

import torch
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
    return Accelerator(cpu=on_cpu, kwargs_handlers=[unused])  # without `cpu`, processes on CPUs would not communicate
