"""Choice of the samples on which a tokenizer is inspected."""

from vqfusion.config import ChainConfig
from vqfusion.data import Dataset
from vqfusion.modalities import in_words
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.types import Sample


def samples_for(
    tokenizer: BaseTokenizer, chain: ChainConfig, dataset: Dataset, split: str | None, most: int
) -> list[Sample]:
    """Samples of the modality of a tokenizer, spread evenly over a split.

    Pictures have the size of the chain; texts are in its languages, without duplicates.

    Args:
        tokenizer: The tokenizer.
        chain: Config of its chain.
        dataset: Data set.
        split: Split of the data set; None takes all.
        most: Largest number of samples.

    Returns:
        The samples.
    """
    modality = tokenizer.modality
    slots = [f"{modality}:{language}" for language in chain.languages] if in_words(modality) else [modality]
    records = {slot: dataset.select(split=split, slots=(slot,)) for slot in slots}
    found = [(record, slot) for slot, those in records.items() for record in those]
    if in_words(modality):
        texts = dict.fromkeys(record.load(slot).data for record, slot in found)
        samples = [Sample(modality, text) for text in texts]
        return samples[:: -(-len(samples) // most)] if samples else []
    spread = found[:: max(1, -(-len(found) // most))]
    return [tokenizer.sized(record.load(slot), chain.image_size) for record, slot in spread]
