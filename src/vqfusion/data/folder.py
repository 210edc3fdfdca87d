"""A data set as a folder of pictures, sounds, volumes, series or texts."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

from vqfusion.config.reading import ROLES, ReadingConfig, slot_meant
from vqfusion.data.columns import open_tables
from vqfusion.data.io import read
from vqfusion.data.io.file import modality_of_suffix, stem_of
from vqfusion.data.io.text import read_text
from vqfusion.data.record import Dataset, Record, split_of_key
from vqfusion.data.splits import NAMES, Unsplit, split_named, splits_of
from vqfusion.data.table import tables_in
from vqfusion.errors import UserError
from vqfusion.modalities import SIGNALS, in_words
from vqfusion.types import Sample

TRANSCRIPTS = (".lab",)  # texts beside sounds, as aligners write them


def open_folder(path: str | Path, reading: ReadingConfig | None = None) -> Dataset:
    """Every picture, sound, volume and series in a folder and its sub-folders, hidden ones left out.

    Files with the same name but for the suffix are one record: `image`, `audio`, `volume`, `series`, and `text:en`
    from a .txt or .lab beside them, `text:de` from a .de.txt and so on (a second picture, sound ... of that name is a
    further record). Where there is none of these, every .txt is a record. The sub-folder is the `label`, or what
    `reading.folders` says; where the folders on top are train, test and the like, they are the split. `reading.files`
    names the parts of file names. The key is the path without suffix; the split is 80/10/10 by a hash of the key, or
    by `reading.group`.

    A folder of tables is read as these, see `tables_in`.

    Raises UserError if the folder is missing or holds none of these.
    """
    root, reading = Path(path), reading or ReadingConfig()
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    name = root.resolve().name
    if tables := tables_in(root):
        return open_tables(tables, reading, name)
    found = [file.relative_to(root) for file in root.rglob("*") if file.is_file()]
    shown = [file for file in found if not any(part.startswith(".") for part in file.parts)]
    named = [(file.with_name(stem_of(file)).as_posix(), root / file) for file in shown]
    modalities = {file: _modality(file) for _, file in named}
    signals = {key for key, file in named if modalities[file] in SIGNALS}
    placed = [(*_place(key, modalities[file], signals), file) for key, file in named]
    keyed = sorted(placed, key=lambda item: (item[0], item[2]))
    groups = {key: [(slot, file) for _, slot, file in group] for key, group in groupby(keyed, key=lambda one: one[0])}
    meaning = _Names(root, reading, [key for key, files in groups.items() if _is_record(files, signals)])
    records: list[Record] = []
    for key, files in groups.items():
        if _is_record(files, signals) and (said := meaning.of(key)) is not None:
            records += _records(key, files, said)
    if not records and meaning.unlike:
        raise UserError(f"{root}: no file name is like `files: {reading.files}`; the first is {meaning.unlike[0]!r}")
    if not records:
        raise UserError(
            f"{root}: holds no picture (.png .jpg .webp), sound (.wav .flac .ogg .mp3), volume (.nii .nii.gz .tif "
            ".npy), series (.csv .edf .npy), text (.txt), nor a table that is called train.csv or .parquet"
        )
    lone = [
        str(files[0][1])
        for files in groups.values()
        if any(slot for slot, _ in files) and not _is_record(files, signals)
    ]
    alone = (("dropped", f"{len(lone)} texts beside no picture or sound (the first: {lone[0]})"),) if lone else ()
    return meaning.divided(Dataset(name, records, remarks=alone))


def _modality(file: Path) -> str | None:
    return "text" if file.suffix.lower() in TRANSCRIPTS else modality_of_suffix(file)


def _is_record(files: list[tuple[str, Path]], signals: set[str]) -> bool:
    """Whether files of one name are a record: one is a signal, or there are only texts and one is called .txt."""
    return any(slot in SIGNALS for slot, _ in files) or (
        not signals and any(slot and file.suffix.lower() not in TRANSCRIPTS for slot, file in files)
    )


class _Names:
    """What the names of folders and files say of each record."""

    def __init__(self, root: Path, reading: ReadingConfig, keys: list[str]):
        self.root, self.reading, self.unlike = root, reading, list[str]()
        tops = {key.partition("/")[0].lower() if "/" in key else "" for key in keys}
        by_split = len(tops) > 1 and tops <= NAMES.keys() and "train" in {NAMES[one] for one in tops}
        self.levels = (reading.folders or ("split/label" if by_split else "label")).split("/")
        self.pattern = _pattern(reading.files) if reading.files else None
        self.own = bool(reading.folders or reading.files or reading.group or by_split)
        self.said: dict[str, dict[str, str]] = {}

    def of(self, key: str) -> dict[str, str] | None:
        """Names by slot or role; None where the name of a file is not like `files`."""
        *folders, stem = key.split("/")
        parts = {level: folders[i] for i, level in enumerate(self.levels[:-1]) if i < len(folders)}
        if rest := "/".join(folders[len(self.levels) - 1 :]):
            parts[self.levels[-1]] = rest
        for part in parts.values():
            if not part.isprintable():  # it becomes a name that the model knows, and that people type
                raise UserError(f"{part}: the name of this folder is not UTF-8 text; rename it")
        if self.pattern:
            match = self.pattern[0].fullmatch(stem)
            if match is None:
                self.unlike.append(key)
                return None
            parts |= {name: match[f"p{i}"] for i, name in enumerate(self.pattern[1])}
        said = {}
        for part, value in parts.items():
            slot = self.reading.columns.get(part) if part in self.reading.columns else slot_meant(part)
            if slot:
                said[slot] = value
        self.said[key] = parts | said
        return said

    def divided(self, dataset: Dataset) -> Dataset:
        """The data set with its splits, and with remarks."""
        if not self.own:
            return dataset
        name, group = dataset.name, self.reading.group
        known = list(dict.fromkeys(part for said in self.said.values() for part in said))
        if group and not any(group in said for said in self.said.values()):
            having = f"; they say {', '.join(known)}" if known else ""
            raise UserError(
                f"{self.root}: no name of a folder or file says {group!r} to group by{having}; name the folders, as in "
                f"`folders: {group}/label`, or the parts of files such as {dataset.records[0].key!r}, as in "
                f'`files: "{{label}}_{{{group}}}_{{}}"`'
            )
        unsplit = []
        for record in dataset.records:
            said = self.said[record.key]
            named = split_named(said["split"], f"{self.root}/{record.key}") if "split" in said else None
            unsplit.append(Unsplit(named, said.get(group, record.key) if group else record.key, record.key))
        splits, how = splits_of(unsplit, group or "record", name)
        records = [replace(record, split=split) for record, split in zip(dataset.records, splits, strict=True)]
        remarks = [("split", how), *dataset.remarks]
        if self.unlike:
            line = f"{len(self.unlike)} files whose name is not like {self.reading.files} (the first: {self.unlike[0]})"
            remarks.append(("dropped", line))
        return replace(dataset, records=records, remarks=tuple(remarks))


def _pattern(files: str) -> tuple[re.Pattern[str], list[str]]:
    """Regular expression of a pattern with names in braces, and these names."""
    pieces = re.split(r"\{([^{}]*)\}", files)
    names, out = list[str](), ""
    for i, piece in enumerate(pieces):
        if i % 2 == 0:
            out += re.escape(piece)
        elif piece:
            out += f"(?P<p{len(names)}>.+?)"
            names.append(piece)
        else:
            out += ".*?"
    for name in names:
        try:
            slot_meant(name)
        except ValueError as error:
            raise UserError(f"files: {error}") from None
    return re.compile(out, re.DOTALL), names


def _place(key: str, modality: str | None, signals: set[str]) -> tuple[str, str]:
    """Key and slot of a file: `cat.de` with a text belongs to `cat`, in German."""
    if not (modality and in_words(modality)):
        return key, modality or ""
    of, _, language = key.rpartition(".")
    if key not in signals and of in signals and re.fullmatch("[a-z]{2,3}", language):
        return of, f"text:{language}"
    return key, "text:en"


def _records(key: str, files: list[tuple[str, Path]], said: Mapping[str, str]) -> list[Record]:
    shared: dict = {slot: partial(Sample, *_named(slot, value)) for slot, value in said.items() if slot not in ROLES}
    views: list[dict] = []
    for slot, file in files:
        if slot.startswith("text:"):
            shared[slot] = partial(read_text, file)
        elif slot:
            view = next((view for view in views if slot not in view), None)
            if view is None:
                views.append(view := {})
            view[slot] = partial(read, file, slot)
    return [Record(key, split_of_key(key), sources=view | shared) for view in views or [{}]]


def _named(slot: str, value: str) -> tuple[str, str]:
    """Modality and value of what a name says."""
    modality = slot.partition(":")[0]
    return (modality, value) if in_words(modality) else ("label", value)
