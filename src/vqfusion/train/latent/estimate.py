"""Cost of training a latent diffusion model."""

from typing import Any

import torch
from accelerate import Accelerator

from vqfusion.config import LatentTrainingConfig
from vqfusion.data import Dataset
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.train.codec.tokenizers import MADE_UP, label_names
from vqfusion.train.fusion.estimate import estimate_tokenizer
from vqfusion.train.latent.data import LabelledSignals, kind_of_tokenizer, open_data
from vqfusion.train.latent.trainer import fresh_model, tokenizer_chain
from vqfusion.train.loop.estimate import Estimate, measure


def estimate(training: LatentTrainingConfig, accelerator: Accelerator, data: Dataset | None = None) -> list[Estimate]:
    """The cost of a latent diffusion: of its tokenizer and of its denoiser, on random data."""
    kind, chain = kind_of_tokenizer(training.latent), tokenizer_chain(training)
    network = build_network(chain.tokenizers[kind])
    assert isinstance(network, SignalTokenizer), "the config names networks of signals only"
    crop = network.crop(training.image_size)
    first = estimate_tokenizer(kind, network, chain, accelerator)
    if training.label:
        names = label_names(data or open_data(training), training.label)
        latent = training.latent.model_copy(update={"classes": names})
        training = training.model_copy(update={"latent": latent})
    signals = torch.rand(MADE_UP, 1, *crop, generator=torch.Generator().manual_seed(0))
    made_up = LabelledSignals(list(signals), torch.zeros(MADE_UP, dtype=torch.int64), crop)
    model, source = fresh_model(training, made_up, network.eval())

    def batches(step: int, rank: int, processes: int) -> Any:
        return source(step, rank, processes).to(accelerator.device)

    return [first, measure("latent diffusion", model, batches, training.stage, accelerator)]
