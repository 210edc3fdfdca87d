"""Cost of training a chain."""

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from vqfusion.config import (
    ChainConfig,
    LabelTokenizerConfig,
    StageConfig,
    TextTokenizerConfig,
)
from vqfusion.data import Dataset
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.slots import patch_size
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.train.codec.tokenizers import MADE_UP, batches_for, label_names
from vqfusion.train.fusion.data import open_data
from vqfusion.train.fusion.draws import DrawSource, TokenRecord
from vqfusion.train.loop.estimate import Estimate, measure


def estimate(training: ChainConfig, accelerator: Accelerator, data: Dataset | None = None) -> list[Estimate]:
    """The cost of every network of a chain on this machine; takes about 10 seconds."""
    generator = torch.Generator().manual_seed(0)
    out, vocabularies = [], {}
    for name, config in training.tokenizers.items():
        if (network := build_network(config)) is not None:
            vocabularies[name] = network.codebook_size
            out.append(estimate_tokenizer(name, network, training, accelerator))
        elif isinstance(config, TextTokenizerConfig):
            vocabularies[name] = config.vocabulary_size
        elif isinstance(config, LabelTokenizerConfig):
            names = config.names or label_names(data or open_data(training), name)
            vocabularies[name] = len(names)
    return [*out, estimate_fusion(training, vocabularies, accelerator, generator)] if training.fusion.slots else out


def estimate_tokenizer(name: str, network: TokenizerNetwork, chain: ChainConfig, accelerator: Accelerator) -> Estimate:
    """Cost of a tokenizer, measured on noise."""
    stage = chain.tokenizer_stages.get(name, StageConfig())
    return measure(f"tokenizer {name}", network, batches_for(network, chain, stage, None), stage, accelerator)


def estimate_fusion(
    chain: ChainConfig, vocabularies: dict[str, int], accelerator: Accelerator, generator: torch.Generator
) -> Estimate:
    """Cost of Fusion, measured on random tokens in the proportions of its draws.

    Texts and sounds have a quarter to the whole length of their slot, which is longer than in most data.
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

    def frames(ids: dict[str, Tensor]) -> dict[str, Tensor]:
        heard = {name: slot.features for name, slot in chain.fusion.slots.items() if slot.features}
        return {name: torch.randn(len(ids[name]), values, generator=generator) for name, values in heard.items()}

    variants = [tuple(tokens() for _ in range(chain.views_per_sample)) for _ in range(MADE_UP)]
    records = [TokenRecord(str(i), one, frames(one[0])) for i, one in enumerate(variants)]
    source = DrawSource(records, chain)
    fusion = Fusion(chain.fusion, vocabularies)

    def batches(step: int, rank: int, processes: int) -> list[Any]:
        return [draw.to(accelerator.device) for draw in source(step, rank, processes)]

    return measure("fusion", fusion, batches, chain.fusion_stage, accelerator)
