"""What the columns of a table mean: cells become the slots of records."""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vqfusion.config.reading import ROLES, ReadingConfig, slot_meant
from vqfusion.data.io import modality_of_bytes, modality_of_suffix, read
from vqfusion.data.io.file import guarded
from vqfusion.data.record import Dataset, Record, Source
from vqfusion.data.splits import Unsplit, split_named, splits_of
from vqfusion.data.table import Table, read_table
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, SIGNALS, in_words
from vqfusion.types import Sample

LABEL = "label"
NAMED = (LABEL, "speaker", "style")
LOOKED_AT = 200  # rows from which a meaning is proposed


@dataclass(frozen=True)
class Row:
    """One row with its meaning: cells by slot or role, and all cells by column."""

    where: str
    slots: dict[str, Any]
    cells: Mapping[str, Any]
    split: str | None = None


def open_tables(tables: Mapping[Path, str | None], reading: ReadingConfig, name: str) -> Dataset:
    """The records of one table or of several, which may each be a split; see `dataset_of`."""
    ordered = sorted(tables.items(), key=lambda one: (one[1] != "train", one[0]))
    return dataset_of([(read_table(path), split) for path, split in ordered], reading, name)


def dataset_of(tables: Sequence[tuple[Table, str | None]], reading: ReadingConfig, name: str) -> Dataset:
    """The records of tables, each with the split that it holds, None where it is not known.

    Empty cells are slots that a record does not have; files that do not exist and rows without any slot are left out.
    What was left out is in the remarks of the data set.

    Args:
        tables: The tables.
        reading: Meaning of the columns.
        name: Name of the data set.

    Raises:
        UserError: A column is missing or has no known meaning, or nothing is left.
    """
    rows: list[Row] = []
    lost: Counter[str] = Counter()
    first: dict[str, str] = {}
    remarks: list[tuple[str, str]] = []
    seen: dict[str, None] = {}

    def lose(why: str, where: str) -> None:
        lost[why] += 1
        first.setdefault(why, where)

    _require_columns([table for table, _ in tables], reading, name)
    for table, split in tables:
        meant = meanings(table, reading)
        unused = [column for column in table.columns if meant.get(column) is None]
        seen.update(dict.fromkeys(unused))
        remarks += [("dropped", line) for line in table.remarks]
        for where, cells in table.rows:
            place = f"{table.path}, {where}"
            slots = {slot: cells.get(column) for column, slot in meant.items() if slot}
            row = Row(place, _filled(slots, table, meant, place, lose), cells, split)
            if row.slots.keys() - set(ROLES):
                rows.append(row)
            else:
                lose("rows without any value", place)
    if not rows:
        why = f": {next(iter(lost))} (the first: {next(iter(first.values()))})" if lost else ""
        raise UserError(f"{name}: no record is left{why}")
    remarks += [("dropped", f"{count} {why} (the first: {first[why]})") for why, count in lost.items()]
    filled = {slot for row in rows for slot in row.slots}
    for column, slot in reading.columns.items():
        if slot and slot not in filled:
            raise UserError(f"{name}: column {column!r} has no value in any row")
    if seen:
        remarks.append(("not used", f"columns {', '.join(seen)}"))
    return _dataset(rows, reading, name, remarks)


def _dataset(rows: list[Row], reading: ReadingConfig, name: str, remarks: list[tuple[str, str]]) -> Dataset:
    keys = [str(row.slots["key"]) if "key" in row.slots else content_key(row.slots) for row in rows]
    what = reading.group or "record"
    unsplit = [
        Unsplit(
            row.split or (split_named(str(row.slots["split"]), row.where) if "split" in row.slots else None),
            group_of(row, reading, key, name),
            row.where,
        )
        for row, key in zip(rows, keys, strict=True)
    ]
    splits, how = splits_of(unsplit, what, name)
    records = [
        Record(
            key, split, sources={slot: _source(slot, value) for slot, value in row.slots.items() if slot not in ROLES}
        )
        for row, key, split in zip(rows, keys, splits, strict=True)
    ]
    return Dataset(name, records, remarks=(("split", how), *remarks))


def meanings(table: Table, reading: ReadingConfig) -> dict[str, str | None]:
    """Slot or role of each column; UserError that proposes a map where a column has no known meaning."""
    if reading.columns:
        meant = {column: reading.columns.get(column) for column in table.columns}
    else:
        meant = {column: _known(column) for column in table.columns}
        unknown = [column for column, slot in meant.items() if slot is None and column != reading.group]
        if unknown:
            some = _proposals(table, meant)
            line = ", ".join(f"{column}: {slot}" for column, slot in some.items())
            raise UserError(
                f"{table.path}: column {unknown[0]!r} has no known meaning; say what the columns are, such as "
                f"`columns: {{{line}}}` (columns that are left out are not used)"
            )
    counts = Counter(slot for slot in meant.values() if slot)
    if twice := [slot for slot, count in counts.items() if count > 1]:
        both = [column for column, slot in meant.items() if slot == twice[0]]
        raise UserError(f"{table.path}: columns {both[0]!r} and {both[1]!r} are both {twice[0]}; leave one out")
    return meant


def _known(column: str) -> str | None:
    """Meaning of a column that is called as a slot; None for any other."""
    try:
        slot = slot_meant(column)
    except ValueError:
        return None
    signal = slot is not None and (slot.split("@")[0] in SIGNALS or in_words(slot.partition(":")[0]))
    return slot if signal or column in (*NAMED, *ROLES) else None


def _proposals(table: Table, meant: Mapping[str, str | None]) -> dict[str, str]:
    """What every column may be; the first one with names is the label."""
    some: dict[str, str] = {}
    for column, slot in meant.items():
        found = slot or _proposed(table, column)
        if slot is None and found == column and LABEL not in (*meant.values(), *some.values()):
            found = LABEL
        some[column] = found
    return some


def _proposed(table: Table, column: str) -> str:
    """What a column may be, from its first cells."""
    values = [row[column] for _, row in table.rows[:LOOKED_AT] if not is_missing(row.get(column))]
    words = [value for value in values if isinstance(value, str)]
    if words and (modality := modality_of_suffix(words[0])) and not in_words(modality):
        return modality
    if column in table.names or (len(set(map(str, values))) <= max(2, len(values) // 4)):
        return column if _names_a_slot(column) else LABEL
    return "text:en" if words else "null"


def _names_a_slot(column: str) -> bool:
    try:
        return slot_meant(column) not in (None, *ROLES)
    except ValueError:
        return False


def _require_columns(tables: Sequence[Table], reading: ReadingConfig, name: str) -> None:
    """UserError where no table has a column that the config names."""
    having = list(dict.fromkeys(column for table in tables for column in table.columns))
    for column in reading.columns:
        if column not in having:
            raise UserError(f"{name}: no column {column!r}; it has {', '.join(having)}")
    slots = [slot for slot in (reading.columns or {column: _known(column) for column in having}).values() if slot]
    if reading.group and reading.group not in (*having, *slots):
        raise UserError(f"{name}: no column {reading.group!r} to group by; it has {', '.join(having)}")


def is_missing(value: Any) -> bool:
    """Whether a cell has no value: empty, null or NaN."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and not value.strip())


def _filled(slots: dict[str, Any], table: Table, meant: dict[str, str | None], where: str, lose: Any) -> dict[str, Any]:
    """The slots of a row that have a value, as text, or as the file or the bytes of a signal."""
    columns = {slot: column for column, slot in meant.items() if slot}
    filled: dict[str, Any] = {}
    for slot, value in slots.items():
        kind = slot.split("@")[0]
        named = kind not in SIGNALS and not in_words(kind.partition(":")[0])
        if is_missing(value) or (named and isinstance(value, str) and value.strip().lower() == "nan"):
            if slot not in ROLES:
                lose(f"cells of {columns[slot]!r} are empty or NaN", where)
        elif kind in SIGNALS:
            found = _signal(value, kind, table, columns[slot], where)
            if isinstance(found, Path) and not found.is_file():
                lose(f"files of {columns[slot]!r} that do not exist, such as {found}", where)
            else:
                filled[slot] = found
        else:
            filled[slot] = _text(value, table.names.get(columns[slot], []), columns[slot], where)
    return filled


def _signal(value: Any, kind: str, table: Table, column: str, where: str) -> Path | bytes | Sample:
    """File, bytes or sample of a signal."""
    if isinstance(value, Sample):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return value["bytes"]
    if isinstance(value, bytes):
        return value
    path = value.get("path") if isinstance(value, Mapping) else value
    if not isinstance(path, str | Path):
        raise UserError(
            f"{where}: column {column!r} holds {type(value).__name__} where {MODALITIES[kind].noun} is needed"
        )
    return table.path.parent / path


def _text(value: Any, names: list[str], column: str, where: str) -> str:
    """Text of a cell; a number of a class becomes its name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and names:
        if not 0 <= value < len(names):
            raise UserError(f"{where}: column {column!r} holds class {value} of {len(names)}")
        return names[value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers beside missing ones are written with a decimal point
    if isinstance(value, str | int | float):
        return str(value).strip()
    raise UserError(f"{where}: column {column!r} holds {type(value).__name__} where a text or a name is needed")


def content_key(slots: Mapping[str, Any]) -> str:
    """Key of a record by its signals and texts, so that what occurs twice stays in one split; by its names if none."""
    kinds = {slot: slot.split("@")[0].partition(":")[0] for slot in slots if slot not in ROLES}
    contents = sorted(slot for slot, kind in kinds.items() if kind in SIGNALS or in_words(kind)) or sorted(kinds)
    digest = hashlib.sha1()
    for slot in contents:
        value = slots[slot]
        digest.update(slot.encode() + b"\0" + _as_bytes(value) + b"\0")
    return digest.hexdigest()[:16]


def _as_bytes(value: Any) -> bytes:
    """Content of a cell for hashing."""
    if isinstance(value, Sample):
        data = value.data
        return data.encode() if isinstance(data, str) else bytes(data.contiguous().numpy().tobytes())
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")


def group_of(row: Row, reading: ReadingConfig, key: str, name: str) -> str:
    """Group of a row; a row without one is a group of its own."""
    if reading.group is None:
        return key
    value = row.cells.get(reading.group, row.slots.get(reading.group))
    return key if is_missing(value) else str(value).strip()


def _source(slot: str, value: Any) -> Source:
    kind = slot.split("@")[0]
    if isinstance(value, Path):
        return partial(read, value, kind)
    if isinstance(value, Sample):
        return lambda: value
    if isinstance(value, bytes):
        return partial(_decoded, value, kind, slot)
    modality = kind.partition(":")[0]
    return partial(Sample, modality if in_words(modality) else "label", value)


def _decoded(data: bytes, modality: str, slot: str) -> Sample:
    found = modality_of_bytes(data)
    if found not in (modality, None):
        raise UserError(f"a cell of {slot} holds {MODALITIES[found].noun}, not {MODALITIES[modality].noun}")
    with guarded(data, MODALITIES[modality].noun):
        sample: Sample = MODALITIES[modality].read(data)
        return sample
