"""What a training would cost: a few steps of the real loop on random data, before anything is read or written."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from vqfusion.config import (
    ChainConfig,
    LabelTokenizerConfig,
    LatentTrainingConfig,
    PriorTrainingConfig,
    StageConfig,
    TextTokenizerConfig,
)
from vqfusion.data import open_dataset
from vqfusion.models.fusion import Fusion
from vqfusion.models.prior import Prior
from vqfusion.models.slots import patch_size
from vqfusion.nn.weights import count_parameters
from vqfusion.tokenizers.build import NetworkTokenizer, build_network
from vqfusion.train.chain import make_accelerator
from vqfusion.train.draws import DrawSource, TokenRecord
from vqfusion.train.latents import LabelledSignals, crop_of, fresh_model, kind_of_tokenizer, tokenizer_chain
from vqfusion.train.loop import Interrupted, fit
from vqfusion.train.priors import noisy_batches
from vqfusion.train.tokenizers import MADE_UP, batches_for, label_names

MOST_STEPS, BUDGET_S = 8, 3.0  # of each stage; one step to warm up and one to time are always made
COPIES = 5  # weights, gradients, two moments of Adam, average


@dataclass(frozen=True)
class Estimate:
    """Cost of one network.

    `state_bytes` is computed: weights, gradients, Adam's two moments and the average, in float32.
    `activation_bytes` is measured: what autograd keeps for the backward pass of the largest step seen. The
    process itself (torch, the data) comes on top. `seconds_per_step` is the mean of the steps that were timed.
    """

    name: str
    parameters: int
    state_bytes: int
    activation_bytes: int
    seconds_per_step: float
    steps: int

    @property
    def peak_bytes(self) -> int:
        return self.state_bytes + self.activation_bytes

    @property
    def seconds(self) -> float:
        return self.seconds_per_step * self.steps


class _Enough(Exception):
    """The steps that were to be timed are done."""


def estimate_chain(chain: ChainConfig, device: str | None = None) -> list[Estimate]:
    """The cost of every network of a chain on this machine; takes about 10 seconds."""
    accelerator = make_accelerator(device)
    generator = torch.Generator().manual_seed(0)
    out, vocabularies = [], {}
    for name, config in chain.tokenizers.items():
        if (network := build_network(config)) is not None:
            vocabularies[name] = network.codebook_size
            out.append(estimate_tokenizer(name, network, chain, accelerator))
        elif isinstance(config, TextTokenizerConfig):
            vocabularies[name] = config.vocabulary_size
        elif isinstance(config, LabelTokenizerConfig):
            names = config.names or label_names(open_dataset(chain.data), name)
            vocabularies[name] = len(names)
    return [*out, estimate_fusion(chain, vocabularies, accelerator, generator)] if chain.fusion.slots else out


def estimate_tokenizer(name: str, network: NetworkTokenizer, chain: ChainConfig, accelerator: Accelerator) -> Estimate:
    """The cost of a tokenizer, on noise."""
    stage = chain.tokenizer_stages.get(name, StageConfig())
    return _measure(f"tokenizer {name}", network, batches_for(network, chain, stage, None), stage, accelerator)


def estimate_fusion(
    chain: ChainConfig, vocabularies: dict[str, int], accelerator: Accelerator, generator: torch.Generator
) -> Estimate:
    """The cost of Fusion, on random tokens in the mix of its draws.

    Texts and sounds are a quarter of their slot to the whole slot long, which is more than most data are.
    """

    def tokens() -> dict[str, Tensor]:
        ids = {}
        for name, slot in chain.fusion.slots.items():
            if slot.is_length:
                continue
            shape = list(slot.shape)
            if slot.variable:
                patch = patch_size(slot)
                most = shape[0] // patch
                shape[0] = patch * int(torch.randint(max(1, most // 4), most + 1, (1,), generator=generator))
            ids[name] = torch.randint(vocabularies[slot.tokenizer], shape, generator=generator)
        return ids

    records = [TokenRecord(str(i), tuple(tokens() for _ in range(chain.views_per_sample))) for i in range(MADE_UP)]
    source = DrawSource(records, chain)
    fusion = Fusion(chain.fusion, vocabularies)

    def batches(step: int, rank: int, processes: int) -> list[Any]:
        return [draw.to(accelerator.device) for draw in source(step, rank, processes)]

    return _measure("fusion", fusion, batches, chain.fusion_stage, accelerator)


def estimate_prior(training: PriorTrainingConfig, device: str | None = None) -> Estimate:
    """The cost of a prior, on random data."""
    accelerator, config = make_accelerator(device), training.prior
    generator = torch.Generator().manual_seed(0)
    shape = (config.channels, *[training.crop] * config.rank)
    source = noisy_batches([torch.rand(shape, generator=generator) for _ in range(MADE_UP)], training)

    def batches(step: int, rank: int, processes: int) -> Any:
        return source(step, rank, processes).to(accelerator.device)

    return _measure("prior", Prior(config), batches, training.stage, accelerator)


def estimate_latent(training: LatentTrainingConfig, device: str | None = None) -> list[Estimate]:
    """The cost of a latent diffusion: of its tokenizer and of its denoiser, on random data."""
    accelerator, kind, chain = make_accelerator(device), kind_of_tokenizer(training.latent), tokenizer_chain(training)
    network = build_network(chain.tokenizers[kind])
    assert network is not None, "the config names networks only"
    crop = crop_of(network, training.image_size)
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

    return [first, _measure("latent diffusion", model, batches, training.stage, accelerator)]


def _measure(
    name: str,
    network: nn.Module,
    batches: Callable[[int, int, int], Any],
    stage: StageConfig,
    accelerator: Accelerator,
) -> Estimate:
    """Run the training loop until the budget is used; time its steps and weigh what autograd keeps."""
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

    endless = stage.model_copy(update={"steps": 10**6, "checkpoint_every_s": float("inf")})
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
