"""Cost of training a prior."""

from typing import Any

import torch

from vqfusion.config import (
    PriorTrainingConfig,
)
from vqfusion.models.restoration.prior import Prior
from vqfusion.train.codec.tokenizers import MADE_UP
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.estimate import Estimate, measure
from vqfusion.train.restoration.trainer import noisy_batches


def estimate_prior(training: PriorTrainingConfig, device: str | None = None) -> Estimate:
    """Cost of a prior, measured on random data."""
    accelerator, config = make_accelerator(device), training.prior
    generator = torch.Generator().manual_seed(0)
    shape = (config.channels, *[training.crop] * config.rank)
    source = noisy_batches([torch.rand(shape, generator=generator) for _ in range(MADE_UP)], training)

    def batches(step: int, rank: int, processes: int) -> Any:
        return source(step, rank, processes).to(accelerator.device)

    return measure("prior", Prior(config), batches, training.stage, accelerator)
