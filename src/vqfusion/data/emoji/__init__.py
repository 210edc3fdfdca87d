"""The built-in set: pictures, names in 24 languages and spoken names of emoji.

Drawings, not photographs; names of about two words; speech synthesised by espeak-ng. What it is made of and
under which licences: NOTICE. How it was made: tools/build_emoji.py.
"""

import gzip
import json
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqfusion.data.record import Dataset, Record, Source
from vqfusion.types import Sample

FOLDER = Path(__file__).parent
LICENCE = (
    "pictures: Noto Emoji (Apache-2.0) and Fluent Emoji (MIT, Microsoft); names: Unicode CLDR "
    "(Unicode-DFS-2016); groups: emojibase (MIT); speech: synthesised with espeak-ng"
)


@lru_cache(maxsize=2)
def read_table(name: str) -> dict[str, Any]:
    """Stored table `names` or `clips` with its splits."""
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


@lru_cache(maxsize=2)
def _atlas(style: str) -> np.ndarray:
    from PIL import Image

    with Image.open(FOLDER / f"{style}.webp") as picture:
        return np.asarray(picture.convert("RGB"))


@lru_cache(maxsize=16)
def _speech(voice: str) -> np.ndarray:
    import soundfile

    sound, _ = soundfile.read(FOLDER / f"{voice}.opus", dtype="float32")
    return np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16)  # int16 takes half the memory of float32


def _picture(style: str, index: int) -> Sample:
    names = read_table("names")
    size, columns = names["tile"], names["columns"]
    top, left = index // columns * size, index % columns * size
    tile = _atlas(style)[top : top + size, left : left + size]
    return Sample("image", torch.from_numpy(tile.transpose(2, 0, 1).astype(np.float32) / 255))


def _clip(voice: str, start: int, length: int, sample_rate_hz: int) -> Sample:
    sound = _speech(voice)[start : start + length].astype(np.float32) / 32767
    return Sample("audio", torch.from_numpy(sound)[None], sample_rate_hz=sample_rate_hz)


def _word(modality: str, value: str) -> Source:
    return partial(Sample, modality, value)


def open_emoji() -> Dataset:
    """The emoji set: one text record a concept, one picture record a style, one sound record a clip.

    Pictures are `[3, 64, 64]`, sound `[1, T]` at 16 kHz and at most 2.5 s. Slots of a text record: `label`
    and `text:xx` for 24 languages; of a picture record these and `image`, `style`; of a sound record `audio`,
    `speaker`, `label` and `text:xx` in the language spoken. Splits and held-out language pairs are stored.
    """
    names, clips = read_table("names"), read_table("clips")
    concepts = names["concepts"]
    label = {key: {"label": _word("label", concept["subgroup"])} for key, concept in concepts.items()}
    records: list[Record] = []
    for key, concept in concepts.items():
        texts: dict[str, Source] = {f"text:{lang}": _word("text", name) for lang, name in concept["names"].items()}
        held_out = "" if concept["split"] == "train" else "concept"
        records.append(Record(key, concept["split"], held_out, label[key] | texts))
        for style, at in concept["pictures"].items():
            shown: dict[str, Source] = {
                "image": partial(_picture, style, at["tile"]),
                "style": _word("label", style),
            }
            records.append(Record(key, at["split"], at["held_out"], shown | label[key] | texts))
    for row in clips["clips"]:
        voice, language, key, start, length, split, held_out = row
        sources: dict[str, Source] = {
            "audio": partial(_clip, voice, start, length, clips["sample_rate_hz"]),
            "speaker": _word("label", voice),
            f"text:{language}": _word("text", concepts[key]["names"][language]),
        }
        records.append(Record(key, split, held_out, sources | label[key]))
    pairs = frozenset(frozenset(pair.split("-")) for pair in names["held_out_language_pairs"])
    keywords = {key: concept["keywords"] for key, concept in concepts.items()}
    return Dataset("emoji", records, pairs, LICENCE, keywords)
