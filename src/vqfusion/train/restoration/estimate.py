"""Cost of training a prior."""

from typing import Any

import torch
from accelerate import Accelerator

from vqfusion.config import PriorTrainingConfig
from vqfusion.models.restoration.prior import Prior
from vqfusion.train.codec.tokenizers import MADE_UP
from vqfusion.train.loop.estimate import Estimate, measure
from vqfusion.train.restoration.trainer import noisy_batches


def estimate(training: PriorTrainingConfig, accelerator: Accelerator) -> list[Estimate]:
    """The cost of a prior, on random data."""
    config = training.prior
    generator = torch.Generator().manual_seed(0)
    shape = (config.channels, *[training.crop] * config.rank)
    source = noisy_batches([torch.rand(shape, generator=generator) for _ in range(MADE_UP)], training)

    def batches(step: int, rank: int, processes: int) -> Any:
        return source(step, rank, processes).to(accelerator.device)

    return [measure("prior", Prior(config), batches, training.stage, accelerator)]
