"""Cost of training a prior."""

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from vqfusion.config import PriorTrainingConfig
from vqfusion.models.restoration.prior import Prior
from vqfusion.train.codec.tokenizers import MADE_UP
from vqfusion.train.loop.estimate import Estimate, measure
from vqfusion.train.restoration.distillation import Batches, load_teacher, taught_by
from vqfusion.train.restoration.trainer import noisy_batches


def estimate(training: PriorTrainingConfig, accelerator: Accelerator, teacher: Path | None = None) -> list[Estimate]:
    """The cost of a prior, on random data; with a `teacher` that of its answers too."""
    config = training.prior
    generator = torch.Generator().manual_seed(0)
    shape = (config.channels, *[training.crop] * config.rank)
    source = noisy_batches([torch.rand(shape, generator=generator) for _ in range(MADE_UP)], training)

    def batches(step: int, rank: int, processes: int) -> Any:
        return source(step, rank, processes).to(accelerator.device)

    given: Batches = batches
    if teacher is not None:
        given = taught_by(load_teacher(training, teacher).to(accelerator.device), batches)
    return [measure("prior", Prior(config), given, training.stage, accelerator)]
