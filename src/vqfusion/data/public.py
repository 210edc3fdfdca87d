"""Public sets with published results, as data to learn from: digits, spoken digits, sentences with labels, captions.

None ships. Each is read from `$VQFUSION_DATA`; where it is not there, UserError says what to put where. The licence of
each says what it may be used for. Where a set has no val part, one is held out of train by a hash of the key.
"""

import gzip
import lzma
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import soundfile
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional as F

from vqfusion.data.record import SPLITS, Dataset, Record, Source, split_of_key
from vqfusion.data.standard import find, mnist10k, spoken_digits
from vqfusion.errors import UserError
from vqfusion.types import Sample

MARGIN = 2  # pixels around a digit of 28 x 28
UNHEARD = "theo"  # speaker of FSDD who is tested on unless another one is named
WORDS = "zero one two three four five six seven eight nine".split()
LANGUAGES = ("en", "de", "fr", "cs")
TATOEBA = {"de": "deu", "fr": "fra", "es": "spa"}


def _kept(key: str) -> str:
    """Train or val: a tenth by the hash of the key."""
    return "val" if split_of_key(key) == "val" else "train"


def _labelled(name: str, parts: Iterable[tuple[str, str, str]], licence: str) -> Dataset:
    """Sentences with a label, from split, label and text; a sentence of a later part too is left out of an earlier."""
    rows = list(parts)
    texts = {part: {text for split, _, text in rows if split == part} for part in SPLITS}
    with_val = bool(texts["val"])
    records = []
    for split, label, text in rows:
        if any(text in texts[part] for part in SPLITS[SPLITS.index(split) + 1 :]):
            continue
        own = split if split != "train" or with_val else _kept(text)
        sources: dict[str, Source] = {
            "text:en": partial(Sample, "text", text),
            "label": partial(Sample, "label", label),
        }
        records.append(Record(text, own, sources=sources))
    return Dataset(name, records, licence=licence)


def _lines(path: Path) -> Iterator[list[str]]:
    unpacked: dict[str, Callable[[bytes], bytes]] = {".xz": lzma.decompress, ".gz": gzip.decompress}
    text = unpacked.get(path.suffix, bytes)(path.read_bytes()).decode()
    for line in text.removesuffix("\n").split("\n"):
        yield line.removesuffix("\r").split("\t")


def open_mnist() -> Dataset:
    """10,000 handwritten digits (`standard.mnist10k`): slots `image` `[1, 32, 32]` and `label`."""
    digits = mnist10k()
    records = []
    for part, pictures, labels in (
        ("train", digits.train, digits.train_labels),
        ("test", digits.test, digits.test_labels),
    ):
        for i, (pixels, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
            picture = partial(digit, pixels)
            split = _kept(f"{i}") if part == "train" else part
            sources: dict[str, Source] = {"image": picture, "label": partial(Sample, "label", str(label))}
            records.append(Record(f"{part}-{i}", split, sources=sources))
    return Dataset("mnist", records, licence="CC BY-SA 3.0")


def open_fsdd(speaker: str = UNHEARD) -> Dataset:
    """3,000 spoken digits of six people (`standard.spoken_digits`): `audio`, `text:en`, `label`, `speaker`.

    Args:
        speaker: Who is tested on; takes of the other five whose number ends in 9 are val.

    Raises:
        UserError: There is no such speaker, or the set is not at hand.
    """
    clips = spoken_digits()
    speakers = sorted({clip.speaker for clip in clips})
    if speaker not in speakers:
        raise UserError(f"fsdd: no speaker {speaker!r}; it has {', '.join(speakers)}")
    records = []
    for clip in clips:
        split = "test" if clip.speaker == speaker else "val" if clip.take % 10 == 9 else "train"
        sources: dict[str, Source] = {
            "audio": partial(recording, clip.path),
            "text:en": partial(Sample, "text", WORDS[clip.digit]),
            "label": partial(Sample, "label", str(clip.digit)),
            "speaker": partial(Sample, "label", clip.speaker),
        }
        records.append(Record(clip.path.stem, split, "voice" if split == "test" else "", sources))
    return Dataset("fsdd", records, licence="CC BY-SA 4.0")


def digit(pixels: UInt8[Tensor, "28 28"]) -> Sample:
    """A picture of MNIST with a margin, `[1, 32, 32]` in [0, 1]."""
    return Sample("image", F.pad(pixels[None].float() / 255, (MARGIN,) * 4))


def recording(path: Path) -> Sample:
    """The sound of a file, at its own rate."""
    data, rate = soundfile.read(path, dtype="float32")
    return Sample("audio", torch.from_numpy(data)[None], sample_rate_hz=rate)


def open_sst2() -> Dataset:
    """67,349 phrases of film reviews, positive or negative (Socher et al., 2013); dev is the test part."""
    parts = (("train", "train"), ("dev", "test"))
    names = {"0": "negative", "1": "positive"}
    rows = (
        (split, names[label], text)
        for file, split in parts
        for label, text in _lines(find(f"sst2/{file}.tsv", "it is SST-2 of GLUE, label and sentence"))
        if label in names
    )
    return _labelled("sst2", rows, "research use")


def open_clinc150() -> Dataset:
    """22,500 questions with 150 intents (Larson et al., 2019), without those out of scope; its own split."""
    rows = (
        (split, row[0], row[1])
        for split in ("train", "val", "test")
        for row in _lines(find(f"clinc150/{split}.tsv.xz", "make it of data_full.json of clinc/oos-eval"))
    )
    return _labelled("clinc150", rows, "CC BY 3.0")


def open_snips() -> Dataset:
    """14,484 commands with 7 intents (Coucke et al., 2018); `validate` is the test part."""
    rows = (
        (split, row[0], row[1])
        for file, split in (("train", "train"), ("validate", "test"))
        for row in _lines(find(f"snips_intents/{file}.tsv.xz", "make it of 2017-06 of sonos/nlu-benchmark"))
    )
    return _labelled("snips", rows, "CC0 1.0")


def open_goemotions() -> Dataset:
    """Comments that are positive or negative (Demszky et al., 2020); its own split."""
    rows = (
        (split, row[0], row[2])
        for file, split in (("train", "train"), ("dev", "val"), ("test", "test"))
        for row in _lines(find(f"goemotions/{file}.tsv.xz", "sentiment, emotions, text of monologg/GoEmotions-pytorch"))
        if row[0] in ("positive", "negative")
    )
    return _labelled("goemotions", rows, "CC BY 4.0")


def open_multi30k() -> Dataset:
    """30,014 captions in four languages, and 1,000 for test (Elliott et al., 2016): `text:en`, `de`, `fr`, `cs`."""
    records = []
    for file, split in (("train", "train"), ("val", "val"), ("test_2016_flickr", "test")):
        columns = [
            [line[0] for line in _lines(find(f"multi30k/{file}.{language}.gz", "it is task 1 of multi30k/dataset"))]
            for language in LANGUAGES
        ]
        for i, texts in enumerate(zip(*columns, strict=True)):
            sources: dict[str, Source] = {
                f"text:{language}": partial(Sample, "text", text)
                for language, text in zip(LANGUAGES, texts, strict=True)
            }
            records.append(Record(f"{split}-{i}", split, sources=sources))
    return Dataset("multi30k", records, licence="research and education")


def open_tatoeba() -> Dataset:
    """English sentences with German, French and Spanish ones (CC BY 2.0 FR); split by the English sentence."""
    records = []
    for language, code in TATOEBA.items():
        for row in _lines(find(f"tatoeba/eng-{code}.tsv.xz", "take it from manythings.org/anki")):
            sources: dict[str, Source] = {
                "text:en": partial(Sample, "text", row[0]),
                f"text:{language}": partial(Sample, "text", row[1]),
            }
            records.append(Record(row[0], split_of_key(row[0]), sources=sources))
    return Dataset("tatoeba", records, licence="CC BY 2.0 FR, www.manythings.org/anki and tatoeba.org")


PUBLIC: dict[str, Callable[[], Dataset]] = {
    "mnist": open_mnist,
    "fsdd": open_fsdd,
    "sst2": open_sst2,
    "clinc150": open_clinc150,
    "snips": open_snips,
    "goemotions": open_goemotions,
    "multi30k": open_multi30k,
    "tatoeba": open_tatoeba,
}
