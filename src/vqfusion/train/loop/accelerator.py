"""Processes and device of a training."""

import atexit
import gc
import importlib

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
    if dist.is_available():  # its functions keep the connections of the time it is imported: none yet
        importlib.import_module("torch.distributed.nn.functional")
    on_cpu = device == "cpu" or (device is None and not torch.accelerator.is_available())
    accelerator = Accelerator(
        cpu=on_cpu, kwargs_handlers=[unused]
    )  # without `cpu`, those on CPUs would not communicate
    if accelerator.num_processes > 1:
        atexit.register(_leave, accelerator)
    return accelerator


def _leave(accelerator: Accelerator) -> None:
    """Close the connections between processes: their threads, still running while a process exits, may abort it.

    The connections are closed when nothing refers to them any more, the wrapped models of the accelerator included.

    Args:
        accelerator: What `make_accelerator` returned.
    """
    accelerator.free_memory()
    gc.collect()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
