"""Sections of the demo on pictures: imagine, describe, classify, and reconstruction."""

from collections.abc import Sequence

import torch

from vqfusion.demo.stage import Section, Stage, name_of
from vqfusion.evaluate.bench import top
from vqfusion.evaluate.metrics import psnr
from vqfusion.pages import page
from vqfusion.types import Sample


def imagine(stage: Stage) -> Section:
    """Pictures from names, in every style and from several languages."""
    styles = stage.system.labels("style")
    slots = ("image", "style", "text:en")
    pairs = stage.held_out("pair", *slots)
    half_seen = {record.key: record.load("style").data for record in pairs}
    asked = stage.draw([r for r in stage.training(*slots) if r.key not in half_seen], 4, "imagine")
    asked += stage.draw(pairs, 2, "imagine")
    asked += stage.draw(stage.held_out("concept", *slots), 2, "imagine")
    english = {
        "text:en": [record.load("text:en") for record in asked for _ in styles],
        "style": [Sample("label", style) for _ in asked for style in styles],
    }
    drawn = stage.pictures(stage.generate(english, "image")).unflatten(0, (len(asked), len(styles)))
    others = [language for language in stage.languages if language != "en"]
    foreign = [(record, others[i % len(others)]) for i, record in enumerate(asked)] if others else []
    foreign = [(record, language) for record, language in foreign if name_of(record, language)]
    from_others = _by_language(stage, foreign)
    shown: dict[str, list[tuple[str, torch.Tensor]]] = {}
    for (record, language), picture in zip(foreign, from_others, strict=True):
        shown[record.key] = [(language, picture)]
    tiles, items = [], []
    montage: list[tuple[str, torch.Tensor]] = []
    for record, sheet in zip(asked, drawn, strict=True):
        name, own = name_of(record), record.load("style").data
        new = half_seen.get(record.key) if record.held_out == "pair" else None
        captions = [style + (" (unseen)" if style == new else "") for style in styles]
        parts = [page.picture(p, caption) for caption, p in zip(captions, sheet, strict=True)]
        for language, picture in shown.get(record.key, []):
            parts.append(page.picture(picture, page.word(name_of(record, language), language)))
        parts.append(page.picture(record.load("image").data, f"original ({own})"))
        tiles.append(page.joined(page.word(name), page.tag(record.held_out), page.strip(parts)))
        items.append({"name": name, "held_out": record.held_out, "styles": styles})
        seen = "" if not record.held_out else " (unseen)"
        place = styles.index(new) if new else len(montage) % len(styles)
        montage.append((name + seen, sheet[place]))
    return Section(
        "Draw what a name says",
        "Each name is drawn once in every style and once from its name in another language. The original is "
        "shown for comparison only. Of a name that was not in training, the model knows the words at best.",
        f'vqfusion imagine "{items[0]["name"]}" --style {styles[0]} -o picture.png',
        page.grid(tiles, 460),
        items,
        pictures=montage,
    )


def _by_language(stage: Stage, asked: Sequence) -> list[torch.Tensor]:
    """Pictures from names in several languages, one call for each language."""
    found: dict[int, torch.Tensor] = {}
    for language in dict.fromkeys(language for _, language in asked):
        chosen = [i for i, (_, other) in enumerate(asked) if other == language]
        slot = f"text:{language}"
        given = {slot: [asked[i][0].load(slot) for i in chosen]}
        if stage.has("style"):
            given["style"] = [asked[i][0].load("style") for i in chosen]
        for i, picture in zip(chosen, stage.pictures(stage.generate(given, "image")), strict=True):
            found[i] = picture
    return [found[i] for i in range(len(asked))]


def describe(stage: Stage) -> Section:
    """Names of pictures in several languages, marked as right or wrong."""
    asked = stage.draw(stage.held_out("pair", "image", "text:en"), 8, "describe")
    asked += stage.draw(stage.held_out("concept", "image", "text:en"), 1, "describe")
    languages = stage.languages[:6]
    pictures = stage.load(asked, "image")
    answers = {lang: stage.generate({"image": pictures}, f"text:{lang}") for lang in languages}
    tiles, items, right, montage = [], [], 0, []
    for i, record in enumerate(asked):
        lines, said = [], {}
        for language in languages:
            said[language] = answers[language][i].data
            correct = said[language] == name_of(record, language)
            right += correct
            lines.append(page.said(language, said[language], correct))
        figure = page.picture(pictures[i].data, page.word(name_of(record)))
        tiles.append(page.side(figure, page.tag(record.held_out), page.listed(lines)))
        items.append({"name": name_of(record), "held_out": record.held_out, "answers": said})
        if record.held_out == "pair":
            montage.append((said[languages[0]], pictures[i].data))
    return Section(
        "Say what a picture shows",
        "The true English name stands under the picture, the model's answers beside it: one call for each "
        "language. The model cannot know the name of a concept that was not in training, and gives a similar one.",
        "vqfusion describe picture.png --language de",
        page.grid(tiles, 330),
        items,
        right,
        len(asked) * len(languages),
        montage,
    )


def classify(stage: Stage) -> Section:
    """Most probable subgroups of pictures."""
    asked = stage.unseen_pictures(8, "classify", "label", "text:en")
    pictures = stage.load(asked, "image")
    answers = stage.system.distribution({"image": pictures}, "label")
    tiles, items, right = [], [], 0
    for record, picture, answer in zip(asked, pictures, answers, strict=True):
        truth = record.load("label").data
        right += top(answer) == truth
        figure = page.picture(picture.data, name_of(record))
        known = page.soft(f"truth: {truth}")
        tiles.append(page.side(figure, page.tag(record.held_out), known, page.bars(answer, truth)))
        best = dict(list(answer.items())[:3])
        items.append({"name": name_of(record), "held_out": record.held_out, "truth": truth, "answers": best})
    return Section(
        "Tell the kind of thing",
        f"One of {len(stage.system.labels('label'))} subgroups, with probabilities, in one network call.",
        "vqfusion classify picture.png --top 3",
        page.grid(tiles, 330),
        items,
        right,
        len(asked),
    )


def round_trip(stage: Stage) -> Section:
    """Pictures after encoding and decoding, the upper limit of the quality of all generated pictures."""
    asked = stage.draw(stage.held_out("concept", "image", "text:en"), 12, "round trip")
    originals = stage.pictures(asked)
    back = stage.pictures(stage.reconstruct(stage.load(asked, "image")))
    scores = psnr(back, originals).tolist()
    tiles, items, montage = [], [], []
    for record, before, after, score in zip(asked, originals, back, scores, strict=True):
        parts = [page.picture(before, "original"), page.picture(after, f"{score:.1f} dB")]
        montage += [("original", before), (f"decoded, {score:.1f} dB", after)]
        tiles.append(page.strip(parts))
        items.append({"name": name_of(record), "held_out": record.held_out, "psnr_db": score})
    tokens = stage.system.tokenizers["image"]
    count = tokens.encode(Sample("image", originals[0])).ids.numel()
    return Section(
        "Pictures through their codes",
        f"Each picture is encoded as {count} codes out of {tokens.codebook_size} and decoded: the upper limit for "
        f"generated pictures. No concept was in training; mean {sum(scores) / len(scores):.1f} dB.",
        "",
        page.grid(tiles, 210),
        items,
        pictures=montage,
    )
