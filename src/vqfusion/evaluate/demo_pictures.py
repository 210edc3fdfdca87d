"""Sections of the demo that show pictures: imagine, describe, classify, and the repair of damaged ones."""

from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

from vqfusion.evaluate import page
from vqfusion.evaluate.bench import top
from vqfusion.evaluate.metrics import psnr
from vqfusion.evaluate.stage import Section, Stage, name_of
from vqfusion.types import Sample


def imagine(stage: Stage) -> Section:
    """Names to pictures, in every style and from several languages."""
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
        captions = [page.plain(style) + (" (unseen)" if style == new else "") for style in styles]
        parts = [page.picture(p, caption) for caption, p in zip(captions, sheet, strict=True)]
        for language, picture in shown.get(record.key, []):
            parts.append(page.picture(picture, page.word(name_of(record, language), language)))
        parts.append(page.picture(record.load("image").data, f"original ({page.plain(own)})"))
        tiles.append(f"{page.word(name)} {page.tag(record.held_out)}{page.strip(parts)}")
        items.append({"name": name, "held_out": record.held_out, "styles": styles})
        seen = "" if not record.held_out else " (unseen)"
        place = styles.index(new) if new else len(montage) % len(styles)
        montage.append((name + seen, sheet[place]))
    return Section(
        "Draw what a name says",
        "Each name is drawn once in every style and once from its name in another language. The original is "
        "shown for comparison only. A name that was never seen can only be pieced together from its words.",
        f'vqfusion imagine "{items[0]["name"]}" --style {styles[0]} -o picture.png',
        page.grid(tiles, 460),
        items,
        pictures=montage,
    )


def _by_language(stage: Stage, asked: Sequence) -> list[torch.Tensor]:
    """Pictures drawn from names in several languages, one call for each language."""
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
    """Pictures to names, in several scripts, right or wrong."""
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
        tiles.append(f'<div class="side">{figure}<div>{page.tag(record.held_out)}<ul>{"".join(lines)}</ul></div></div>')
        items.append({"name": name_of(record), "held_out": record.held_out, "answers": said})
        if record.held_out == "pair":
            montage.append((said[languages[0]], pictures[i].data))
    return Section(
        "Say what a picture shows",
        "The true English name stands under the picture, the model's answers beside it: one call for each "
        "language. The model cannot know the name of a concept that was never seen; it says what is nearest.",
        "vqfusion describe picture.png --language ja",
        page.grid(tiles, 330),
        items,
        right,
        len(asked) * len(languages),
        montage,
    )


def classify(stage: Stage) -> Section:
    asked = stage.unseen_pictures(8, "classify", "label", "text:en")
    pictures = stage.load(asked, "image")
    answers = stage.system.distribution({"image": pictures}, "label")
    tiles, items, right = [], [], 0
    for record, picture, answer in zip(asked, pictures, answers, strict=True):
        truth = record.load("label").data
        right += top(answer) == truth
        figure = page.picture(picture.data, page.plain(name_of(record)))
        about = f'{page.tag(record.held_out)}<small class="soft">truth: {page.plain(truth)}</small>'
        tiles.append(f'<div class="side">{figure}<div>{about}{page.bars(answer, truth)}</div></div>')
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
    """The ceiling: what the codes keep."""
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
        f"A picture becomes {count} codes out of {tokens.codebook_size} and comes back: the ceiling of every "
        f"picture on this page. All are of concepts never seen; mean {sum(scores) / len(scores):.1f} dB.",
        "",
        page.grid(tiles, 210),
        items,
        pictures=montage,
    )


def inpaint(stage: Stage) -> Section:
    asked = stage.unseen_pictures(6, "inpaint", "text:en")
    whole = stage.pictures(asked)
    side = stage.system.image_size
    keep = torch.ones(side, side, dtype=torch.bool)
    keep[side // 4 : 3 * side // 4, side // 2 :] = False  # a box over the right half of the middle
    holes = torch.where(keep, whole, torch.full_like(whole, 0.5))
    filled = stage.fill([Sample("image", picture) for picture in whole], keep)
    return _repaired(
        stage,
        asked,
        {"hole": holes, "filled in": filled, "original": whole},
        "Fill in what is missing",
        "The grey box is unknown to the model; every code that touches it is drawn anew.",
        "vqfusion inpaint picture.png --mask box.png -o whole.png --model emoji",
    )


def upscale(stage: Stage) -> Section:
    asked = stage.unseen_pictures(6, "upscale", "text:en")
    whole = stage.pictures(asked)
    small = interpolate(whole, (16, 16), mode="area")
    bicubic = interpolate(small, whole.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1)
    large = stage.pictures(stage.generate({"image@16": [Sample("image", p) for p in small]}, "image"))
    return _repaired(
        stage,
        asked,
        {"16 pixels": small, "bicubic": bicubic, "upscaled": large, "original": whole},
        "Enlarge four times",
        "From 16 to 64 pixels a side. The details are invented: a sample, not a measurement.",
        "vqfusion upscale small.png -o large.png --model emoji",
    )


def denoise(stage: Stage) -> Section:
    asked = stage.unseen_pictures(6, "denoise", "text:en")
    whole = stage.pictures(asked)
    sigma = stage.system.config.image_noise_sigma
    generator = torch.Generator().manual_seed(stage.seed)
    noisy = whole + sigma * torch.randn(whole.shape, generator=generator)
    clean = stage.pictures(stage.generate({"image@noisy": [Sample("image", p) for p in noisy]}, "image"))
    return _repaired(
        stage,
        asked,
        {"noisy": noisy.clamp(0, 1), "cleaned": clean, "original": whole},
        "Clean a noisy picture",
        f"Gaussian noise of {255 * sigma:.0f}/255 was added.",
        "vqfusion denoise noisy.png -o clean.png --model emoji",
    )


def _repaired(
    stage: Stage, asked: list, sheets: dict[str, torch.Tensor], title: str, about: str, command: str
) -> Section:
    """Rows of pictures before and after, with PSNR against the original where the size is the same."""
    whole = sheets["original"]
    captions = {}
    for kind, sheet in sheets.items():
        same = kind != "original" and sheet.shape == whole.shape
        values = psnr(sheet, whole).tolist() if same else [None] * len(asked)
        captions[kind] = [kind if v is None else f"{kind}, {v:.1f} dB" for v in values]
    tiles, items = [], []
    for i, record in enumerate(asked):
        parts = [
            page.picture(sheet[i], captions[kind][i], small=sheet.shape[-1] < whole.shape[-1])
            for kind, sheet in sheets.items()
        ]
        tiles.append(f"{page.word(name_of(record))} {page.tag(record.held_out)}{page.strip(parts)}")
        shown = [captions[kind][i] for kind in sheets]
        items.append({"name": name_of(record), "held_out": record.held_out, "shown": shown})
    pairs = [(captions[kind][i], sheets[kind][i]) for i in range(len(asked)) for kind in list(sheets)[:2]]
    return Section(title, about, command, page.grid(tiles, 340), items, pictures=pairs)
