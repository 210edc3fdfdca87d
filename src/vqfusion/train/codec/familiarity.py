"""Fitting of the familiarity of a tokenizer of pictures or sounds."""

from pathlib import Path

import torch

from vqfusion.config import ChainConfig
from vqfusion.data import Dataset
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.familiarity import Familiarity
from vqfusion.tokenizers.kept import save_familiarity

MOST = 2048  # samples of a split at most, spread evenly
LEAST = 100  # samples of a split; the largest distance of n samples is exceeded by one of n + 1


def add_familiarity(tokenizer: BaseTokenizer, name: str, dataset: Dataset, chain: ChainConfig, folder: Path) -> None:
    """Fit the familiarity of a tokenizer to the data and save it in its folder.

    Fitted to the training split, with the threshold from the validation split; none where either has fewer than 100
    samples.

    Args:
        tokenizer: The tokenizer; nothing is done for others than those of pictures and sounds.
        name: Its name in the chain.
        dataset: Data set.
        chain: Config of the chain.
        folder: Folder of the tokenizer.
    """
    features = []
    for split in ("train", "val"):
        records = dataset.select(split=split, slots=(tokenizer.modality,))
        spread = records[:: -(-len(records) // MOST) or 1]
        if len(spread) < LEAST:
            return
        samples = (record.load(tokenizer.modality) for record in spread)
        found = [tokenizer.mean_latents(one, chain.image_size) for one in samples]
        known = [latents for latents in found if latents is not None]
        if len(known) < LEAST:
            return
        features.append(torch.cat(known))
    tokenizer.familiarity = Familiarity.fit(*features)
    save_familiarity(tokenizer, folder, name)
