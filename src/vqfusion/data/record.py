"""Record and Dataset: the interface of all data sets."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from vqfusion.errors import UserError
from vqfusion.types import Sample

SPLITS = ("train", "val", "test")


def split_of_key(key: str) -> str:
    """Split train, val or test for 80, 10 and 10 % of the keys, by a hash that is the same on every machine."""
    share = int(hashlib.sha1(key_bytes(key)).hexdigest()[:8], 16) / 2**32
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"


def by_hash(key: str) -> bytes:
    """Key of sorting that gives an arbitrary order of keys, the same on every machine."""
    return hashlib.sha1(key_bytes(key)).digest()


def key_bytes(key: str) -> bytes:
    """A key for hashing; names of files that are not UTF-8 keep their bytes."""
    return key.encode(errors="surrogateescape")


Source = Callable[[], Sample]
"""How one slot is read; called whenever the slot is asked for, so nothing is decoded before."""


@dataclass(frozen=True)
class Record:
    """One view of a concept: its slots and how to read them.

    Records with the same `key` show the same concept and may be combined (a picture with a text).

    Attributes:
        key: Name of the concept.
        split: train, val or test.
        held_out: Why a record is not in train: "" (it is, or the split is random), "concept" (the concept is unseen),
            "pair" (the concept is seen, but not in this style) or "voice" (the speaker is unseen).
        sources: Function that reads each slot.
    """

    key: str
    split: str
    held_out: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, such as `("image", "style", "label", "text:en")`."""
        return tuple(self.sources)

    def load(self, slot: str) -> Sample:
        """Read and decode the sample of a slot; UserError where the record has no such slot."""
        if slot not in self.sources:
            raise UserError(f"record {self.key!r} has no slot {slot!r}: it has {', '.join(self.slots)}")
        return self.sources[slot]()


def in_turn(records: Iterable[Record]) -> list[Record]:
    """Records in an arbitrary order that is the same on every machine: by the hash of the key, one of each key in turn.

    The first records of a set are then of all concepts, also where many records show the same one.
    """
    keys: dict[str, list[Record]] = {}
    for record in records:
        keys.setdefault(record.key, []).append(record)
    rounds = zip_longest(*(keys[key] for key in sorted(keys, key=by_hash)))
    return [record for one in rounds for record in one if record is not None]


@dataclass(frozen=True)
class Dataset:
    """Records with a name, a licence, and what must not be trained on.

    Attributes:
        name: Name of the data set.
        records: The records.
        held_out_pairs: Pairs of languages that never occur as given and target in training.
        licence: Licence and attribution.
        keywords: Further words for a concept, as `keywords[key][language]`, where the set has them.
        remarks: What reading it found, as topic and sentence: how it was divided, what was dropped or not used.
    """

    name: str
    records: list[Record] = field(repr=False)
    held_out_pairs: frozenset[frozenset[str]] = frozenset()
    licence: str = ""
    keywords: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict, repr=False)
    remarks: tuple[tuple[str, str], ...] = ()

    def select(self, split: str | None = None, held_out: str | None = None, slots: Iterable[str] = ()) -> list[Record]:
        """Records of a split, of a held-out kind and with certain slots.

        Args:
            split: train, val or test; None selects all.
            held_out: Kind of `Record.held_out`, "" for none; None selects all.
            slots: Slots that a record must have.

        Returns:
            The records.

        Raises:
            UserError: The split is not train, val or test.
        """
        if split is not None and split not in SPLITS:
            raise UserError(f"no split {split!r}: choose one of {', '.join(SPLITS)}")
        wanted = set(slots)
        return [
            record
            for record in self.records
            if split in (None, record.split) and held_out in (None, record.held_out) and wanted <= record.sources.keys()
        ]

    def limited(self, keys: int | None) -> "Dataset":
        """Keep only `keys` concepts of the training split, chosen by the hash of their key; None keeps all.

        Held-out views of other training concepts are removed too; concepts that are held out completely stay.
        """
        if keys is None:
            return self
        train = {record.key for record in self.records if record.split == "train"}
        kept = set(sorted(train, key=by_hash)[:keys])
        records = [record for record in self.records if record.key in kept or record.key not in train]
        return replace(self, records=records)

    def slots(self) -> tuple[str, ...]:
        """All slots of the records, in order of first appearance."""
        return tuple(dict.fromkeys(slot for record in self.records for slot in record.sources))
