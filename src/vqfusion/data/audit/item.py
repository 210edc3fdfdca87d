"""What is known of one file or text after it was looked at, and what a check found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np


class Severity(IntEnum):
    """How bad a finding is, in increasing order."""

    NOTE = 0
    WARNING = 1
    SERIOUS = 2

    @property
    def word(self) -> str:
        """Name in reports."""
        return self.name.lower()


@dataclass(frozen=True)
class Measured:
    """Measurements of one sample; a few hundred numbers, whatever its size.

    Attributes:
        facts: Numbers that checks compare with their limits, by name.
        sizes: Numbers that say how large the sample is, such as its duration in seconds.
        signature: For near duplicates: a vector of unit length, compared by its cosine, or MinHash values (uint32),
            compared by the fraction that is equal.
        embedding: For classes and outliers: a dense vector (float16), or sorted hashes of terms (uint32).
        proportions: Numbers that near duplicates have in common within 20 %, such as the duration without silence.
        head: Beginning of a text.
        tint: Colours of a picture, which near duplicates have in common.
    """

    facts: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    signature: np.ndarray | None = None
    embedding: np.ndarray | None = None
    proportions: Mapping[str, float] = field(default_factory=dict)
    head: str = ""
    tint: np.ndarray | None = None


@dataclass
class Item:
    """One file, or one text of a manifest.

    Attributes:
        name: Path of the file, or key and slot.
        path: The file, if it is one.
        slot: Slot of the record, such as "text:de".
        modality: Row of the table of modalities.
        key: Key of its first record.
        label: Label of its first record, or "".
        splits: Splits of the records that use it.
        alone: Whether its records hold no other kind of signal, so that it stands for them.
        size_bytes: Size of the file.
        digest: Hash of the content.
        fault: "", "empty", "truncated" or "unreadable".
        why: What is wrong with the file.
        measured: Measurements, where it could be read.
    """

    name: str
    path: Path | None
    slot: str
    modality: str
    key: str = ""
    label: str = ""
    splits: set[str] = field(default_factory=set)
    alone: bool = True
    size_bytes: int = 0
    digest: bytes = b""
    fault: str = ""
    why: str = ""
    measured: Measured | None = None


@dataclass(frozen=True)
class Finding:
    """Something that a check found in one file or record.

    Attributes:
        name: The file, or key and slot.
        detail: What is wrong, in a few words.
        value: The number that was compared with a limit, where there is one.
        drop: Whether the cleaned manifest leaves it out.
        only_in: Split from whose records it is left out; "" for all.
        with_names: Other files that are concerned, such as those that it duplicates.
    """

    name: str
    detail: str
    value: float | None = None
    drop: bool = False
    only_in: str = ""
    with_names: tuple[str, ...] = ()


def by_slot(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Items of each slot, which are compared with each other."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.slot, []).append(item)
    return found
