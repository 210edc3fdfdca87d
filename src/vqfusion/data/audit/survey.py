"""Looking at everything in a data set once: each file is read, measured and forgotten."""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from vqfusion.data.audit.item import Item
from vqfusion.data.audit.similar import near_groups, same_groups
from vqfusion.data.audit.truncation import cut_off
from vqfusion.data.io.file import guarded, modality_of_head, read_bytes
from vqfusion.data.record import Dataset, Record, Source, by_hash
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, Modality
from vqfusion.watch import told

LABEL = next(name for name, row in MODALITIES.items() if row.listed)
EMPTY = ("is empty", "holds no samples", "has no pixels", "holds only white space")  # as readers say it


@dataclass(frozen=True)
class Survey:
    """What is known of a data set.

    Attributes:
        name: Name of the data set.
        items: Every file and text, each once.
        records: The records that were looked at.
        labels: Label of each of these records, or "".
        of_records: Records in the data set.
        strays: Files and folders that no record uses, with the reason.
    """

    name: str
    items: list[Item]
    records: Sequence[Record]
    labels: list[str]
    of_records: int
    strays: list[tuple[str, str]] = field(default_factory=list)

    @cached_property
    def same(self) -> list[list[Item]]:
        """Groups of items with the same bytes."""
        return same_groups(self.items)

    @cached_property
    def near(self) -> list[list[Item]]:
        """Groups of items that look, sound or read the same."""
        return near_groups(self.items)

    def slots(self) -> Counter[str]:
        """Number of records that have each slot."""
        return Counter(slot for record in self.records for slot in record.slots)


def survey_of(
    dataset: Dataset, folder: Path | None = None, most: int | None = None, seconds: float | None = None
) -> Survey:
    """Read and measure the records of a data set.

    One file is in memory at a time; a few kilobytes of numbers are kept of each.

    Args:
        dataset: The data set.
        folder: Folder that was opened, to find files that no record uses.
        most: Records to look at, chosen by the hash of their keys; None looks at all.
        seconds: Time after which no further record is looked at.

    Returns:
        The `Survey`.
    """
    records: Sequence[Record] = dataset.records
    if most is not None and most < len(records):
        chosen = sorted(records, key=lambda record: by_hash(record.key))[:most]
        kept = {id(record) for record in chosen}
        records = [record for record in records if id(record) in kept]
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    items: list[Item] = []
    of_path: dict[Path, Item] = {}
    labels: list[str] = []
    for record in told(records):
        if time.monotonic() > end:
            break
        label = _label(record)
        labels.append(label)
        contents = [slot for slot in record.slots if is_content(slot)]
        of_signal = any(row_of(slot).rank for slot in contents)
        for slot in contents:
            path = file_of(record.sources[slot])
            item = of_path.get(path) if path else None
            if item is None:
                item = _look(record, slot, path)
                item.label = label
                items.append(item)
                if path:
                    of_path[path] = item
            item.splits.add(record.split)
            item.alone = item.alone and (row_of(slot).rank > 0 or not of_signal)
    records = records[: len(labels)]
    strays = list(_strays(folder, dataset)) if folder else []
    return Survey(dataset.name, items, records, labels, len(dataset.records), strays)


def file_of(source: Source) -> Path | None:
    """File that a source reads; None where the content itself is in the data set."""
    first = source.args[0] if isinstance(source, partial) and source.args else None
    return first if isinstance(first, Path) else None


def row_of(slot: str) -> Modality:
    """Row of the table of modalities for a slot such as "audio@noisy" or "text:de"; names of classes are labels."""
    return MODALITIES.get(slot.split("@")[0].partition(":")[0], MODALITIES[LABEL])


def is_content(slot: str) -> bool:
    """Whether a slot holds something to look at, and not the name of a class."""
    return bool(row_of(slot).measure)


def _label(record: Record) -> str:
    """Class of a record, or ""."""
    if LABEL not in record.sources:
        return ""
    with suppress(UserError):
        return str(record.load(LABEL).data)
    return ""


def name_in(record: Record, slot: str) -> str:
    """Name of a slot of a record in reports: its file, or key and slot."""
    return str(file_of(record.sources[slot]) or f"{record.key} {slot}")


def _look(record: Record, slot: str, path: Path | None) -> Item:
    """Read and measure one slot of a record."""
    row = row_of(slot)
    item = Item(name_in(record, slot), path, slot, row.name, record.key)
    try:
        if path is None:
            sample = record.load(slot)
            item.digest = _digest(_content(sample.data))
        else:
            data = read_bytes(path)
            item.size_bytes, item.digest = len(data), _digest(data)
            if reason := cut_off(data):
                item.fault, item.why = "truncated", reason
            with guarded(path, row.noun):
                sample = row.read(data, keep=not row.pictured)
        item.measured = row.measured(sample)
    except UserError as error:
        item.why = item.why or str(error).removeprefix(f"{path}: ")
        item.fault = item.fault or ("empty" if any(words in str(error) for words in EMPTY) else "unreadable")
        found = modality_of_head(path) if path else None
        if item.fault == "unreadable" and found not in (None, row.name):
            item.why = f"its content is that of {MODALITIES[found].noun}" if found else item.why
    return item


def _content(data: Any) -> bytes:
    return data.numpy().tobytes() if hasattr(data, "numpy") else str(data).encode(errors="surrogatepass")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _strays(folder: Path, dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Files that no record uses, and folders that cannot be read; hidden ones are left out, links are not followed."""
    used = {
        os.path.abspath(path) for record in dataset.records for path in map(file_of, record.sources.values()) if path
    }
    refused: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                yield os.path.join(place, name), "a link to a folder, which is not followed"
        for name in sorted(files):
            path = os.path.join(place, name)
            if name.startswith(".") or os.path.abspath(path) in used:
                continue
            if not os.path.exists(path):
                yield path, "a link that leads nowhere"
            elif not os.path.isfile(path):
                yield path, "not a file"
            else:
                found = modality_of_head(path)
                what = f"; its content is that of {MODALITIES[found].noun}" if found else ""
                yield path, f"of no kind that is read, or without a signal beside it{what}"
    for error in refused:
        yield str(error.filename), f"a folder that cannot be read ({error.strerror})"
