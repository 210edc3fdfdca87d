"""Data sets as JSON lines: one record per line, with slot name -> file, text or label."""

import hashlib
import json
import os
import reprlib
from functools import partial
from pathlib import Path
from typing import Any

from vqfusion.data.io import read
from vqfusion.data.record import SPLITS, Dataset, Record, Source, split_of_key
from vqfusion.errors import UserError
from vqfusion.modalities import SIGNALS, in_words
from vqfusion.types import Sample

LABELS = ("label", "speaker", "style")
SHORT = reprlib.Repr()  # shortens values in messages
SHORT.maxstring = 80


def open_manifest(path: str | Path) -> Dataset:
    """Read a manifest, e.g. `{"image": "cat.png", "text:en": "a cat", "label": "animal", "split": "val"}`.

    Slots `image`, `audio` (also with a view, `audio@noisy`), `volume` and `series` hold a file, relative to the
    manifest; `text:xx` holds the text itself; `label`, `speaker` and `style` hold a name. `key` (what the record
    shows) is by default a hash of the line's slots, `split` by default 80/10/10 by a hash of the key.

    Raises UserError with file and line for anything that is not so, or a file that does not exist.
    """
    path, records = Path(path), []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                records.append(_record(line, path.parent))
            except UserError as error:
                raise UserError(f"{path}:{number}: {error}") from None
    if not records:
        raise UserError(f"{path}: holds no records")
    return Dataset(path.stem, records)


def object_in(line: bytes) -> dict[str, Any]:
    """The object in a line of JSON; UserError where there is none, or its texts are no Unicode."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
        json.dumps(row, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise UserError(f"is not JSON ({error.msg} at column {error.colno})") from None
    except UnicodeDecodeError:
        raise UserError("is not UTF-8") from None
    except UnicodeEncodeError:
        raise UserError(r"holds half of a surrogate pair (\ud800 to \udfff), which is no character") from None
    except RecursionError:
        raise UserError("is nested too deeply; write {...} of slots") from None
    except ValueError:
        raise UserError("holds a number of too many digits") from None
    if not isinstance(row, dict):
        raise UserError("is not an object of slots; write {...}")
    return row


def _record(line: bytes, folder: Path) -> Record:
    row = object_in(line)
    key, split = row.pop("key", None), row.pop("split", None)
    if not row:
        raise UserError("has no slots")
    if key is None:
        key = hashlib.sha1(json.dumps(row, sort_keys=True).encode()).hexdigest()[:16]
    if not isinstance(key, str) or not key:
        raise UserError(f"the key is {SHORT.repr(key)}; write a text")
    if split not in (None, *SPLITS):
        raise UserError(f"the split is {SHORT.repr(split)}; write one of {', '.join(SPLITS)}")
    sources = {slot: _source(slot, value, folder) for slot, value in row.items()}
    return Record(key, split or split_of_key(key), sources=sources)


def _source(slot: str, value: Any, folder: Path) -> Source:
    kind = slot.split("@")[0]
    modality, _, language = kind.partition(":")
    if kind in LABELS and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"slot {SHORT.repr(slot)} holds {SHORT.repr(value)}; write a text that is not empty")
    if kind in SIGNALS:
        if not os.path.isfile(folder / value):  # also False for invalid names
            raise UserError(f"slot {SHORT.repr(slot)}: no such file {SHORT.repr(str(folder / value))}")
        return partial(read, folder / value, kind)
    if in_words(modality) and language:
        return partial(Sample, modality, value.strip())
    if kind in LABELS:
        return partial(Sample, "label", value.strip())
    raise UserError(
        f"unknown slot {SHORT.repr(slot)}; use {', '.join(SIGNALS)}, text:xx (xx a language), {', '.join(LABELS)}, or "
        "say in the YAML file what it is: `columns: {mood: emotion}`"
    )
