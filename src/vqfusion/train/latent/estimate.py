"""Cost of training a latent diffusion model."""

from typing import Any

import torch

from vqfusion.config import (
    LatentTrainingConfig,
)
from vqfusion.data import open_dataset
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.train.codec.tokenizers import MADE_UP, label_names
from vqfusion.train.fusion.estimate import estimate_tokenizer
from vqfusion.train.latent.trainer import LabelledSignals, fresh_model, kind_of_tokenizer, tokenizer_chain
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.estimate import Estimate, measure


def estimate_latent(training: LatentTrainingConfig, device: str | None = None) -> list[Estimate]:
    """Cost of tokenizer and denoiser, measured on random data."""
    accelerator, kind, chain = make_accelerator(device), kind_of_tokenizer(training.latent), tokenizer_chain(training)
    network = build_network(chain.tokenizers[kind])
    assert isinstance(network, SignalTokenizer), "the config names networks of signals only"
    crop = network.crop(training.image_size)
    first = estimate_tokenizer(kind, network, chain, accelerator)
    if training.label:
        names = label_names(open_dataset(training.data), training.label)
        latent = training.latent.model_copy(update={"classes": names})
        training = training.model_copy(update={"latent": latent})
    signals = torch.rand(MADE_UP, 1, *crop, generator=torch.Generator().manual_seed(0))
    made_up = LabelledSignals(list(signals), torch.zeros(MADE_UP, dtype=torch.int64), crop)
    model, source = fresh_model(training, made_up, network.eval())

    def batches(step: int, rank: int, processes: int) -> Any:
        return source(step, rank, processes).to(accelerator.device)

    return [first, measure("latent diffusion", model, batches, training.stage, accelerator)]
