"""Clean read speech from two openly licensed sets: what the shipped sound prior learned from."""

import csv
import io
import zlib
from collections.abc import Iterator
from functools import cache, partial
from zipfile import ZipFile

import soundfile
import torch

from vqfusion.data.record import Dataset, Record
from vqfusion.data.standard import find
from vqfusion.types import Sample

LEAST_DYNAMICS_DB = 45  # between loud and quiet frames of an utterance: clean enough to learn from
PEAK = 0.9


def open_speech() -> Dataset:
    """Slot `audio` `[1, T]`, as loud as it can be; the key is the utterance.

    Utterances of speechocean762 (Zhang et al., 2021; Apache-2.0; its own split, by speaker) and Kerstin (CC0; a tenth
    of the texts is not for training) whose quiet frames are far below the loud ones, from the packed folders
    `speechocean762` and `kerstin_de` in `$VQFUSION_DATA`. UserError names what is missing.
    """
    records = []
    for folder, row, split in _utterances():
        source = partial(_clip, folder, row["key"])
        held_out = "voice" if split == "test" and "speaker" in row else ""
        records.append(Record(f"{folder}-{row['key']}", split, held_out, {"audio": source}))
    return Dataset("speech", records, licence="Apache-2.0 (speechocean762) and CC0 (Kerstin)")


def _utterances() -> Iterator[tuple[str, dict[str, str], str]]:
    for folder in ("speechocean762", "kerstin_de"):
        for row in _rows(folder):
            if float(row["dyn_db"]) >= LEAST_DYNAMICS_DB:
                yield folder, row, row.get("split") or _split(row["text"])


def _split(text: str) -> str:
    number = zlib.crc32(text.encode()) % 20
    return ("test", "val")[number] if number < 2 else "train"


def _rows(folder: str) -> list[dict[str, str]]:
    text = io.TextIOWrapper(_archive(folder).open("meta.tsv"), "utf-8")
    return list(csv.DictReader(text, delimiter="\t", quoting=csv.QUOTE_NONE))


@cache
def _archive(folder: str) -> ZipFile:
    return ZipFile(find(f"{folder}/{folder}.zip", "it is a zip of Ogg Opus clips with a meta.tsv"))


def _clip(folder: str, key: str) -> Sample:
    data, rate = soundfile.read(io.BytesIO(_archive(folder).read(f"{key}.ogg")), dtype="float32")
    sound = torch.from_numpy(data)[None]
    return Sample("audio", sound * (PEAK / sound.abs().max().clamp(min=1e-6)), sample_rate_hz=rate)
