"""Fitting of the entropy model of a tokenizer."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import ChainConfig, TextTokenizerConfig, TextVQVAEConfig
from vqfusion.data import Dataset
from vqfusion.diffusion.noise import torch_seed
from vqfusion.modalities import in_words
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.codec.entropy_model import FRACTION, NEIGHBOURS, EntropyModel, neighbours
from vqfusion.tokenizers.kept import load_entropy_model, save_entropy_model
from vqfusion.tokenizers.photo import PhotoTokenizer
from vqfusion.train.codec.tokenizers import training_texts
from vqfusion.types import Sample

HIDDEN, STEPS, BATCH, RATE = 32, 300, 2048, 2e-2
MOST_CODES = 2048  # the table of a larger codebook costs more than it saves
LEAST_CODES = 4  # training codes per code of the codebook; with fewer the model would fit noise
MOST_TEXTS, MOST_SIGNALS = 20_000, 512  # samples that are encoded for the fit


def add_entropy_model(tokenizer: BaseTokenizer, name: str, dataset: Dataset, chain: ChainConfig, folder: Path) -> None:
    """Fit the entropy model of a tokenizer to training data and save it in its folder, unless it exists.

    Args:
        tokenizer: The tokenizer.
        name: Its name in the chain.
        dataset: Data set.
        chain: Config of the chain.
        folder: Folder of the tokenizer.
    """
    if tokenizer.closed or isinstance(tokenizer, PhotoTokenizer):  # whose context model learns with it
        return
    tokenizer.entropy_model = load_entropy_model(tokenizer, folder, name)
    if tokenizer.entropy_model is None:
        codes = training_codes(tokenizer, name, dataset, chain)
        tokenizer.entropy_model = fit_entropy_model(codes, tokenizer.codebook_size, chain.seed)
        save_entropy_model(tokenizer, folder, name)


def training_codes(
    tokenizer: BaseTokenizer, name: str, dataset: Dataset, chain: ChainConfig
) -> list[Int[Tensor, "..."]]:
    """Code grids of training data, spread evenly over the split; pictures have the size of the chain."""
    if in_words(tokenizer.modality):
        config = chain.tokenizers[name]
        assert isinstance(config, TextTokenizerConfig | TextVQVAEConfig)
        texts = training_texts(dataset, chain, config)
        samples = (Sample(tokenizer.modality, text) for text in _spread(texts, MOST_TEXTS))
    else:
        records = dataset.select(split="train", slots=(tokenizer.modality,))
        samples = (record.load(tokenizer.modality) for record in _spread(records, MOST_SIGNALS))
    sized = (tokenizer.sized(sample, chain.image_size) for sample in samples)
    return [tokenizer.encode(tokenizer.fitted(sample)).ids.cpu() for sample in sized]


def _spread(items: Sequence, most: int) -> Sequence:
    """At most `most` of the items, evenly spread."""
    return items[:: -(-len(items) // most)] if len(items) > most else items


def fit_entropy_model(grids: Sequence[Int[Tensor, "..."]], codebook_size: int, seed: int = 0) -> EntropyModel | None:
    """Fit an entropy model to code grids, in about five seconds; deterministic.

    Args:
        grids: Grids of codes.
        codebook_size: Number of codes.
        seed: Random seed.

    Returns:
        The model; None where there are more than 2,048 codes, or fewer than four training codes for each.
    """
    contexts = torch.cat([neighbours(grid, codebook_size) for grid in grids]) if grids else torch.empty(0)
    if codebook_size > MOST_CODES or len(contexts) < LEAST_CODES * codebook_size:
        return None
    symbols = torch.cat([grid.reshape(-1) for grid in grids])
    axes, count = grids[0].ndim, contexts.shape[1]
    frequencies = torch.bincount(symbols, minlength=codebook_size).double() + 0.5
    bias = (frequencies / frequencies.sum()).log2().float().requires_grad_()
    generator = torch.Generator().manual_seed(torch_seed(seed))
    table = (0.3 * torch.randn(count * (codebook_size + 1), HIDDEN, generator=generator)).requires_grad_()
    output = (0.1 * torch.randn(codebook_size, HIDDEN, generator=generator)).requires_grad_()
    places = torch.arange(count) * (codebook_size + 1)
    optimizer = torch.optim.AdamW([table, output, bias], RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    for _ in range(STEPS):
        rows = torch.randint(len(symbols), (BATCH,), generator=generator)
        hidden = F.embedding(contexts[rows] + places, table).sum(dim=1).relu()
        logits = math.log(2) * F.linear(hidden, output, bias)  # output and bias in bits
        optimizer.zero_grad()
        F.cross_entropy(logits, symbols[rows]).backward()
        optimizer.step()
        schedule.step()
    return quantised(table.detach().view(count, codebook_size + 1, HIDDEN), output.detach(), bias.detach(), axes)


def quantised(table: Tensor, output: Tensor, bias: Tensor, axes: int) -> EntropyModel:
    """Round a model to integers: scores in bits / 64, with a power of two between them and the products.

    `table` is `[neighbours, K + 1, H]`, `output` `[K, H]` and `bias` `[K]`, as in `EntropyModel`.
    """
    assert len(table) == len(NEIGHBOURS[axes])
    in_table = 127 / table.abs().max().clamp(min=1e-6)
    most = 127 / output.abs().max().clamp(min=1e-6)
    shift = max(0, math.floor(math.log2(float(in_table * most / FRACTION))))
    in_output = FRACTION * 2**shift / in_table  # at most `most`
    return EntropyModel(
        (table * in_table).round().clamp(-127, 127).to(torch.int8),
        (output * in_output).round().clamp(-127, 127).to(torch.int8),
        (bias * FRACTION).round().clamp(-32768, 32767).to(torch.int16),
        shift,
        axes,
    )
