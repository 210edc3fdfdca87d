"""Record and Dataset: what the rest of the library sees of any data set."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha1

from vqfusion.errors import UserError
from vqfusion.types import Sample

SPLITS = ("train", "val", "test")


def split_of_key(key: str) -> str:
    """train, val or test for 80, 10 and 10 % of keys, by a hash: the same on every machine, in any order."""
    share = int(hashlib.sha1(key.encode()).hexdigest()[:8], 16) / 2**32
    return "train" if share < 0.8 else "val" if share < 0.9 else "test"


Source = Callable[[], Sample]
"""How one slot is read; called whenever the slot is asked for, so nothing is decoded before."""


@dataclass(frozen=True)
class Record:
    """One view of a thing: its slots and how to read them.

    Records with the same `key` show the same thing and may be joined (a picture with a text). `split` is
    train, val or test; `held_out` says why a record is not in train: "" (it is, or chance alone decided),
    "concept" (the thing itself is unseen), "pair" (the thing is seen, but not in this style) or "voice"
    (the speaker is unseen).
    """

    key: str
    split: str
    held_out: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, e.g. `("image", "style", "label", "text:en")`."""
        return tuple(self.sources)

    def load(self, slot: str) -> Sample:
        """The sample in `slot`, decoded now. Raises UserError if the record has no such slot."""
        if slot not in self.sources:
            raise UserError(f"record {self.key!r} has no slot {slot!r}: it has {', '.join(self.slots)}")
        return self.sources[slot]()


@dataclass(frozen=True)
class Dataset:
    """Records with a name, a licence note and what must not be trained on.

    `held_out_pairs` are pairs of languages that are never given and target of one another in training.
    `keywords[key][language]` are further words for a thing, where the set has them.
    """

    name: str
    records: list[Record] = field(repr=False)
    held_out_pairs: frozenset[frozenset[str]] = frozenset()
    licence: str = ""
    keywords: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict, repr=False)

    def select(self, split: str | None = None, held_out: str | None = None, slots: Iterable[str] = ()) -> list[Record]:
        """Records of a split, of a held-out kind (`""` for none) and with all of `slots`; None selects any.

        Raises UserError if `split` is not train, val or test.
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
        """Only `keys` things of the training split, chosen by the hash of their key; None keeps all.

        Held-out views of other training things go too; things that are held out altogether stay.
        """
        if keys is None:
            return self
        train = {record.key for record in self.records if record.split == "train"}
        kept = set(sorted(train, key=lambda key: sha1(key.encode()).hexdigest())[:keys])
        records = [record for record in self.records if record.key in kept or record.key not in train]
        return replace(self, records=records)

    def slots(self) -> tuple[str, ...]:
        """Every slot that some record has, in order of first appearance."""
        return tuple(dict.fromkeys(slot for record in self.records for slot in record.sources))
