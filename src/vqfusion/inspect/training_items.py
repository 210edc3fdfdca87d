"""Nearest training items of a sample: whether it is a copy, by the measure that finds near duplicates in data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from vqfusion.data import Dataset, Record
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

SHOWN = 5  # nearest items
MOST = 2000  # training items that are compared
RARE = 0.05  # largest share of training items that are as alike, where a sample is called a copy
ROUNDING = 1e-3  # of likeness; signatures are stored with 16 bits
BLOCK = 512  # items that are compared at once


@dataclass(frozen=True)
class Nearest:
    """The training items that are most like a sample.

    Likeness is that of the signatures of `data check`: the cosine of low spatial frequencies, of a spectrogram or of a
    coarse copy of an array; of texts the share of equal MinHash values (an estimate of the Jaccard index). It is 1 for
    the same content.

    Attributes:
        slot: Slot of the training items.
        keys: Keys of the nearest training items, the most alike first.
        samples: The nearest training items.
        likeness: Their likeness to the sample.
        compared: Training items that were compared.
        of: Training items that there are.
        share: Share of the compared training items that are at least as alike to another training item as the sample is
            to its nearest.
        same_from: Likeness from which `data check` counts two items as nearly the same.
    """

    slot: str
    keys: tuple[str, ...]
    samples: tuple[Sample, ...]
    likeness: tuple[float, ...]
    compared: int
    of: int
    share: float
    same_from: float

    @property
    def copied(self) -> bool:
        """Whether the sample is nearly the same as a training item, and training items hardly ever are."""
        return self.likeness[0] >= self.same_from and self.share <= RARE


def nearest(sample: Sample, dataset: Dataset, slot: str, most: int = MOST) -> Nearest:
    """Compare a sample with the training items of a slot.

    Args:
        sample: A generated or given sample.
        dataset: The data that the model was trained on.
        slot: Slot of the data.
        most: Training items to compare, evenly spread.

    Returns:
        The nearest items, and how alike training items are to each other.

    Raises:
        UserError: The modality has no signature, the sample is empty or silent, or there are fewer than two such
            training items.
    """
    kind = MODALITIES.get(sample.modality)
    if kind is None or not kind.measure:
        raise UserError(f"{slot}: names are not compared with training items, only {', '.join(_measured())}")
    own = kind.measured(sample).signature
    if own is None:
        raise UserError(f"{slot}: this {sample.modality} is empty or silent and cannot be compared with training items")
    records = dataset.select("train", slots=(slot,))
    kept, rows = _signatures(records[:: max(1, -(-len(records) // most))], slot)
    if len(kept) < 2:
        raise UserError(f"{dataset.name}: has {len(kept)} training items of {slot!r} to compare with; 2 are needed")
    to_own = _likeness(own[None], rows)[0]
    order = np.argsort(-to_own, kind="stable")[:SHOWN]
    among = _to_nearest_other(rows)
    return Nearest(
        slot,
        tuple(kept[i].key for i in order),
        tuple(kept[i].load(slot) for i in order),
        tuple(float(to_own[i]) for i in order),
        len(kept),
        len(records),
        float((among >= to_own[order[0]] - ROUNDING).mean()),
        kind.same_from,
    )


def _signatures(records: Sequence[Record], slot: str) -> tuple[list[Record], np.ndarray]:
    """Records whose sample can be measured, and their signatures as rows."""
    found = []
    for record in records:
        sample = record.load(slot)
        signature = MODALITIES[sample.modality].measured(sample).signature
        if signature is not None:
            found.append((record, signature))
    return [record for record, _ in found], np.stack([row for _, row in found]) if found else np.empty((0, 0))


def _likeness(some: np.ndarray, rows: np.ndarray) -> Float[np.ndarray, "M N"]:
    """Cosine of signatures, or share of equal MinHash values."""
    if rows.dtype.kind == "f":
        return some.astype(np.float32) @ rows.astype(np.float32).T
    return np.stack([(one == rows).mean(axis=1) for one in some])


def _to_nearest_other(rows: np.ndarray) -> Float[np.ndarray, " N"]:
    """Likeness of each item to the one among the others that is most like it."""
    out = []
    for start in range(0, len(rows), BLOCK):
        likeness = _likeness(rows[start : start + BLOCK], rows)
        likeness[np.arange(len(likeness)), start + np.arange(len(likeness))] = -np.inf
        out.append(likeness.max(axis=1))
    return np.concatenate(out)


def _measured() -> list[str]:
    return [row.plural for row in MODALITIES.values() if row.measure]
