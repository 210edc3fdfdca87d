"""RAW <-> SAMPLE: files, folders, manifests and the built-in sets, all opened as a `Dataset` of `Record`s."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqfusion.config.reading import ReadingConfig

_HOME = {
    "Record": "record", "Dataset": "record",
    "open_emoji": "emoji", "open_digits": "digits", "open_manifest": "manifest", "open_folder": "folder",
    "open_solids": "solids", "open_waves": "waves",
    "open_photos": "photos", "open_mni152": "mni152", "open_brains": "brains", "open_speech": "speech",
    "open_train400": "train400", "open_sensors": "sensors", "open_numerals": "numerals",
    "as_sample": "convert", "as_samples": "convert", "read": "io", "write": "io",
    "fit_picture": "transforms", "resample": "transforms",
}  # fmt: skip

BUILT_IN = ("emoji", "digits", "solids", "waves")
# read from where other packages put them, or from $VQFUSION_DATA
ELSEWHERE = ("photos", "mni152", "brains", "speech", "train400", "sensors", "numerals")
PUBLIC = ("mnist", "fsdd", "sst2", "clinc150", "snips", "goemotions", "multi30k", "tatoeba")
__all__ = ["open_dataset", *_HOME]


def open_dataset(name: str | Path, reading: "ReadingConfig | None" = None):
    """Open a data set.

    Args:
        name: "emoji", "digits", "solids" (volumes), "waves" (series), a manifest that ends in .jsonl, a table (.csv,
            .tsv, .parquet), or a folder of files or of tables. "photos", "mni152", "brains" (volumes), "speech",
            "train400", "sensors" (series) and "numerals" are read from where other packages put them, and the public
            sets of `PUBLIC` from `$VQFUSION_DATA`.
        reading: What columns, folders and file names mean, for one's own data.

    Returns:
        The data set.

    Raises:
        UserError: It is none of these, or what it needs is missing.
    """
    from vqfusion.config.reading import ReadingConfig
    from vqfusion.errors import UserError

    reading = reading or ReadingConfig()
    if name in BUILT_IN + ELSEWHERE + PUBLIC:
        if reading != ReadingConfig():
            raise UserError(f"data set {name!r} is built in: columns, folders, files and group are for your own data")
        home = "public" if name in PUBLIC else name
        return getattr(importlib.import_module(f"{__name__}.{home}"), f"open_{name}")()
    path = Path(name)
    if path.is_dir():
        return importlib.import_module(f"{__name__}.folder").open_folder(path, reading)
    table = importlib.import_module(f"{__name__}.table")
    plain = not (reading.columns or reading.group)
    if path.is_file() and path.suffix.lower() == ".jsonl" and plain:
        return importlib.import_module(f"{__name__}.manifest").open_manifest(path)
    if path.is_file() and path.suffix.lower() in (".jsonl", *table.SUFFIXES):
        if reading.folders or reading.files:
            raise UserError(f"{path}: is a table; `folders` and `files` are for folders of files")
        return importlib.import_module(f"{__name__}.columns").open_tables({path: None}, reading, path.stem)
    known = ", ".join(BUILT_IN + ELSEWHERE + PUBLIC)
    raise UserError(
        f"no data set {str(name)!r}: give {known}, a folder, a .jsonl manifest, or a table (.csv, .tsv, .parquet)"
    )


def __getattr__(name: str):
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
