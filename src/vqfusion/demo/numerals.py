"""Section of the demo on digits: read, heard, drawn and said, by the model `digits`."""

from vqfusion.data.numerals import NAMES
from vqfusion.demo.stage import Section, Stage
from vqfusion.evaluate.bench import top
from vqfusion.pages import page
from vqfusion.types import Sample

DIGITS = range(10)


def every_direction(stage: Stage) -> Section:
    """A picture and a clip of each digit, what the model reads and hears, and what it draws and says by name."""
    seen = _one_of_each(stage, "image")
    heard = _one_of_each(stage, "audio")
    pictures, sounds = stage.load(seen, "image"), stage.load(heard, "audio")
    languages = [list(NAMES)[(5 * digit + stage.seed) % len(NAMES)] for digit in DIGITS]
    voices = stage.system.labels("speaker")
    voice = [Sample("label", voices[digit % len(voices)]) for digit in DIGITS]
    read = [top(one) for one in stage.system.distribution({"image": pictures}, "label")]
    understood = [one.data for one in stage.generate({"audio": sounds}, "text:en")]
    words = [Sample("text", NAMES[language].split()[digit]) for digit, language in zip(DIGITS, languages, strict=True)]
    drawn, said, named = [], [], []
    for digit, language in zip(DIGITS, languages, strict=True):
        slot = f"text:{language}"
        drawn += stage.generate({slot: [words[digit]]}, "image")
        said += stage.generate({slot: [words[digit]], "speaker": [voice[digit]]}, "audio")
        named += stage.generate({"image": [pictures[digit]]}, slot)
    tiles, items = [], []
    for digit, language in zip(DIGITS, languages, strict=True):
        truth, word = NAMES["en"].split()[digit], words[digit].data
        answers = {
            "read": (read[digit], str(digit), "en"),
            "named": (named[digit].data, word, language),
            "heard": (understood[digit], truth, "en"),
        }
        marked = {how: page.word(text, spoken, text == right) for how, (text, right, spoken) in answers.items()}
        tiles.append(
            page.joined(
                page.side(
                    page.picture(pictures[digit].data, "by hand"),
                    page.joined("read:", marked["read"], marked["named"]),
                ),
                page.player(sounds[digit], page.joined("heard:", marked["heard"])),
                page.side(
                    page.picture(drawn[digit].data, page.joined("drawn from", page.word(word, language))),
                    page.player(said[digit], f"said, voice {voice[digit].data}"),
                ),
            )
        )
        items.append({how: text for how, (text, _, _) in answers.items()} | {"digit": digit, "language": language})
    right = sum(
        (one["read"] == str(digit)) + (one["named"] == words[digit].data) + (one["heard"] == NAMES["en"].split()[digit])
        for digit, one in zip(DIGITS, items, strict=True)
    )
    return Section(
        "Digits that are seen, heard, named, drawn and said",
        "Handwriting and a speaker that were not in training. Each picture is read as a digit and named in one of 24 "
        "languages, each clip is understood; below, the same name is drawn, and said in English in a voice of the "
        "training. What was drawn and said has no right answer here: docs/zoo/digits.md has what classifiers of real "
        "digits take them for.",
        "vqfusion classify seven.png --model digits",
        page.grid(tiles, 330),
        items,
        right,
        3 * len(items),
    )


def _one_of_each(stage: Stage, slot: str) -> list:
    """One held-out record of each digit."""
    records = stage.dataset.select("test", slots=(slot,))
    chosen = {record.key: record for record in stage.draw(records, len(DIGITS), f"digits {slot}")}
    return [chosen[str(digit)] for digit in DIGITS]
