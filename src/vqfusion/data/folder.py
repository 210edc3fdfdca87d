"""A data set as a folder of pictures, sounds, volumes and series."""

import re
from functools import partial
from itertools import groupby
from pathlib import Path

from vqfusion.data.io import read
from vqfusion.data.io.file import modality_of_suffix, stem_of
from vqfusion.data.io.text import read_text
from vqfusion.data.record import Dataset, Record, split_of_key
from vqfusion.errors import UserError
from vqfusion.modalities import SIGNALS, in_words
from vqfusion.types import Sample


def open_folder(path: str | Path) -> Dataset:
    """Every picture, sound, volume and series in a folder and its sub-folders, hidden ones left out.

    Files with the same name but for the suffix are one record: `image`, `audio`, `volume`, `series`, and `text:en`
    from a .txt beside them, `text:de` from a .de.txt and so on (a second picture, sound ... of that name is a further
    record). The sub-folder is the `label`. The key is the path without suffix; the split is 80/10/10 by a hash of the
    key.

    Raises UserError if the folder is missing or holds none of these.
    """
    root = Path(path)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    found = [file.relative_to(root) for file in root.rglob("*") if file.is_file()]
    shown = [file for file in found if not any(part.startswith(".") for part in file.parts)]
    named = [(file.with_name(stem_of(file)).as_posix(), root / file) for file in shown]
    modalities = {file: modality_of_suffix(file) for _, file in named}
    signals = {key for key, file in named if modalities[file] in SIGNALS}
    placed = [(*_place(key, modalities[file], signals), file) for key, file in named]
    keyed = sorted(placed, key=lambda item: (item[0], item[2]))
    records: list[Record] = []
    for key, group in groupby(keyed, key=lambda item: item[0]):
        records += _records(key, [(slot, file) for _, slot, file in group])
    if not records:
        raise UserError(
            f"{root}: holds no picture (.png .jpg .webp), sound (.wav .flac .ogg .mp3), volume (.nii .nii.gz .tif "
            ".npy) or series (.csv .edf .npy)"
        )
    return Dataset(root.resolve().name, records)


def _place(key: str, modality: str | None, signals: set[str]) -> tuple[str, str]:
    """Key and slot of a file: `cat.de` with a text belongs to `cat`, in German."""
    if not (modality and in_words(modality)):
        return key, modality or ""
    of, _, language = key.rpartition(".")
    if key not in signals and of in signals and re.fullmatch("[a-z]{2,3}", language):
        return of, f"text:{language}"
    return key, "text:en"


def _records(key: str, files: list[tuple[str, Path]]) -> list[Record]:
    label = key.rpartition("/")[0]
    if label and not label.isprintable():  # it becomes a name that the model knows, and that people type
        raise UserError(f"{label}: the name of this folder is not UTF-8 text; rename it")
    shared = {"label": partial(Sample, "label", label)} if label else {}
    views: list[dict] = []
    for slot, file in files:
        if slot.startswith("text:"):
            shared[slot] = partial(read_text, file)
        elif slot:
            view = next((view for view in views if slot not in view), None)
            if view is None:
                views.append(view := {})
            view[slot] = partial(read, file, slot)
    return [Record(key, split_of_key(key), sources=view | shared) for view in views]
