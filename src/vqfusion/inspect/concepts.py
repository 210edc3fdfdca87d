"""What codes say about names: mutual information of codes and names, and a probe that tells names from codes alone."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from vqfusion.data import Dataset, Record
from vqfusion.modalities import MODALITIES
from vqfusion.tokenizers.base import BaseTokenizer

SHUFFLES, FOLDS = 20, 5
FEWEST = 2 * FOLDS  # items of a name


@dataclass(frozen=True)
class Concept:
    """What the codes of a tokenizer say about the names of a slot.

    Attributes:
        slot: Slot of the names.
        names: Number of names with at least 10 items; others are left out.
        items: Items with such a name.
        bits: Mutual information of a name and one code of its item, drawn at random, above that of shuffled names.
        entropy_bits: Entropy of the names: as much as anything can say about them.
        accuracy: Share of names that a linear probe tells from how often each code occurs in an item, by 5-fold
            cross-validation.
        commonest: Share of the commonest name, which a probe that knows nothing would tell.
    """

    slot: str
    names: int
    items: int
    bits: float
    entropy_bits: float
    accuracy: float
    commonest: float


def concepts(tokenizer: BaseTokenizer, dataset: Dataset, split: str | None, most: int) -> list[Concept]:
    """What the codes of a tokenizer say about every slot of names of a data set.

    Args:
        tokenizer: A tokenizer of signals or texts.
        dataset: Data with items of its modality and names beside them.
        split: Split of the data; None takes all.
        most: Items of each slot of names at most, evenly spread.

    Returns:
        One row for each slot with two names or more of which there are 10 items.
    """
    own = next((slot for slot in dataset.slots() if slot.partition(":")[0] == tokenizer.modality), None)
    found: list[Concept] = []
    for slot in dataset.slots() if own is not None else ():
        if slot.partition(":")[0].partition("@")[0] in MODALITIES and not MODALITIES[slot.partition(":")[0]].listed:
            continue
        records = dataset.select(split=split, slots=(str(own), slot))
        records = records[:: max(1, -(-len(records) // most))]
        counts = Counter(record.load(slot).data for record in records)
        names = sorted(name for name, count in counts.items() if count >= FEWEST)
        chosen = [record for record in records if record.load(slot).data in names]
        if len(names) > 1:
            truth = np.array([names.index(record.load(slot).data) for record in chosen])
            found.append(measure_concept(slot, _histograms(tokenizer, chosen, str(own)), truth))
    return found


def measure_concept(slot: str, counts: Float[np.ndarray, "N K"], truth: Int[np.ndarray, " N"]) -> Concept:
    """Mutual information and probe from the codes of items.

    Args:
        slot: Slot of the names.
        counts: How often each code occurs in each item.
        truth: Number of the name of each item, from 0.

    Returns:
        The measurements.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    generator = np.random.default_rng(0)
    shares = counts / counts.sum(axis=1, keepdims=True)
    chance = [mutual_information_bits(shares, generator.permutation(truth)) for _ in range(SHUFFLES)]
    of_names = np.bincount(truth) / len(truth)
    probe = LogisticRegression(C=10.0, max_iter=1000)
    return Concept(
        slot,
        int(truth.max()) + 1,
        len(truth),
        max(0.0, mutual_information_bits(shares, truth) - float(np.mean(chance))),
        float(-(of_names[of_names > 0] * np.log2(of_names[of_names > 0])).sum()),
        float(cross_val_score(probe, np.sqrt(shares), truth, cv=FOLDS).mean()),
        float(of_names.max()),
    )


def mutual_information_bits(shares: Float[np.ndarray, "N K"], truth: Int[np.ndarray, " N"]) -> float:
    """Mutual information of the name of a random item and a random code of it, from the shares of codes in items."""
    joint = np.zeros((int(truth.max()) + 1, shares.shape[1]))
    np.add.at(joint, truth, shares / len(truth))
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    there = joint > 0
    return float((joint[there] * np.log2(joint[there] / independent[there])).sum())


def _histograms(tokenizer: BaseTokenizer, records: Sequence[Record], slot: str) -> Float[np.ndarray, "N K"]:
    """How often each code occurs in each item."""
    rows = []
    for record in records:
        ids = tokenizer.encode(tokenizer.fitted(record.load(slot))).ids.cpu().flatten().numpy()
        rows.append(np.bincount(ids, minlength=tokenizer.codebook_size))
    return np.stack(rows).astype(np.float64)
