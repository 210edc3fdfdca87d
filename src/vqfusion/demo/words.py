"""Sections of the demo on sound and text: speak, transcribe, speaker, enhance, translate, write, any."""

import torch

from vqfusion.data.transforms import add_noise_at_snr
from vqfusion.demo.stage import Section, Stage, name_of, spoken
from vqfusion.diffusion.noise import torch_seed
from vqfusion.evaluate.bench import top
from vqfusion.modalities import SIGNALS
from vqfusion.pages import page
from vqfusion.types import Sample


def speak(stage: Stage) -> Section:
    """Names spoken by the model, with the recording before and after its codes."""
    voices = set(stage.system.labels("speaker"))
    asked = []
    for kind, records in (("seen", stage.training("audio")), ("unseen", stage.held_out("concept", "audio"))):
        known = [record for record in records if record.load("speaker").data in voices]
        for language in dict.fromkeys(map(spoken, known)):
            same = [record for record in known if spoken(record) == language]
            asked += stage.draw(same, 1, f"speak {kind} {language}")
    sounds = stage.sounds(asked)
    back = stage.reconstruct(sounds)
    made = _by_language(stage, asked, lambda record: f"text:{spoken(record)}", "speaker", target="audio")
    tiles, items = [], []
    for record, real, trip, ours in zip(asked, sounds, back, made, strict=True):
        language, voice = spoken(record), record.load("speaker").data
        players = {
            f"spoken by the model, voice {voice}": ours,
            "the recording through its codes": trip,
            "the recording": real,
        }
        tiles.append(_played(page.word(name_of(record, language), language), page.tag(record.held_out), players))
        items.append({"text": name_of(record, language), "language": language, "voice": voice})
    return Section(
        "Say a name aloud",
        "The recordings are synthetic themselves (espeak-ng). The second player has the recording after encoding "
        "and decoding, the upper limit for generated speech.",
        f'vqfusion speak "{items[0]["text"]}" --language {items[0]["language"]} -o name.wav',
        page.grid(tiles, 300),
        items,
    )


def transcribe(stage: Stage) -> Section:
    """Names in recordings of unseen voices."""
    clips = stage.held_out("voice", "audio")
    asked = []
    for language in dict.fromkeys(map(spoken, clips)):
        asked += stage.draw([c for c in clips if spoken(c) == language], 3, f"transcribe {language}")
    heard: list[str] = [""] * len(asked)
    for language in dict.fromkeys(map(spoken, asked)):
        chosen = [i for i, clip in enumerate(asked) if spoken(clip) == language]
        given = {"audio": stage.load([asked[i] for i in chosen], "audio")}
        for i, answer in zip(chosen, stage.generate(given, f"text:{language}"), strict=True):
            heard[i] = answer.data
    tiles, items, right = [], [], 0
    for clip, text, sound in zip(asked, heard, stage.sounds(asked), strict=True):
        language, truth = spoken(clip), name_of(clip, spoken(clip))
        right += text == truth
        caption = page.joined("said:", page.word(truth, language), page.tag(clip.held_out))
        tiles.append(page.joined(page.player(sound, caption), page.listed([page.said(language, text, text == truth)])))
        items.append({"said": truth, "heard": text, "language": language, "held_out": clip.held_out})
    return Section(
        "Write down what was said",
        "The voices were not in training.",
        "vqfusion transcribe clip.wav --language de",
        page.grid(tiles, 300),
        items,
        right,
        len(asked),
    )


def speaker(stage: Stage) -> Section:
    """Most probable speakers of recordings."""
    voices = set(stage.system.labels("speaker"))
    clips = [c for c in stage.held_out("concept", "audio") if c.load("speaker").data in voices]
    asked = stage.draw(clips, 6, "speaker")
    sounds = stage.sounds(asked)
    answers = stage.system.distribution({"audio": sounds}, "speaker")
    tiles, items, right = [], [], 0
    for clip, sound, answer in zip(asked, sounds, answers, strict=True):
        truth = clip.load("speaker").data
        right += top(answer) == truth
        caption = page.joined(page.word(name_of(clip, spoken(clip)), spoken(clip)), page.tag(clip.held_out))
        tiles.append(page.joined(page.player(sound, caption), page.bars(answer, truth)))
        items.append({"voice": truth, "answers": dict(list(answer.items())[:3]), "held_out": clip.held_out})
    return Section(
        "Tell who speaks",
        f"One of {len(voices)} voices, with words that were not in training.",
        "vqfusion speaker clip.wav",
        page.grid(tiles, 300),
        items,
        right,
        len(asked),
    )


def enhance(stage: Stage) -> Section:
    """Recordings with noise removed."""
    asked = stage.draw(stage.held_out("voice", "audio"), 4, "enhance")
    clean, snr = stage.sounds(asked), stage.system.config.audio_noise_snr_db
    generator = torch.Generator().manual_seed(torch_seed(stage.seed))
    noisy = [Sample("audio", add_noise_at_snr(s.data, snr, generator), sample_rate_hz=s.sample_rate_hz) for s in clean]
    made = stage.generate({"audio@noisy": noisy}, "audio")
    tiles, items = [], []
    for clip, before, after, original in zip(asked, noisy, made, clean, strict=True):
        name = page.word(name_of(clip, spoken(clip)), spoken(clip))
        players = {"noisy": before, "cleaned": after, "original": original}
        tiles.append(_played(name, page.tag(clip.held_out), players))
        items.append({"said": name_of(clip, spoken(clip)), "held_out": clip.held_out})
    return Section(
        "Clean a noisy voice",
        f"White noise was added, with a signal-to-noise ratio of {snr:g} dB. The clean sound is generated from codes.",
        "vqfusion enhance noisy.wav -o clean.wav --model emoji",
        page.grid(tiles, 250),
        items,
    )


def translate(stage: Stage) -> Section:
    """Translations, one row for each direction that was not in training."""
    known = set(stage.system.languages)
    pairs = sorted(tuple(sorted(p)) for p in stage.dataset.held_out_pairs if set(p) <= known)
    rows, items, right = [], [], 0
    for i, (a, b) in enumerate(pairs):
        source, target = (a, b) if i % 2 else (b, a)
        slots = (f"text:{source}", f"text:{target}")
        texts = [r for r in stage.training(*slots) if set(SIGNALS).isdisjoint(r.slots)]
        unseen = [r for r in stage.held_out("concept", *slots) if set(SIGNALS).isdisjoint(r.slots)]
        asked = stage.draw(texts, 2, f"translate {a}") + stage.draw(unseen, 1, f"translate {a}")
        given = stage.load(asked, slots[0])
        answers = stage.generate({slots[0]: given}, slots[1])
        english = stage.generate({slots[0]: given}, "text:en")
        through = stage.generate({"text:en": english}, slots[1])
        for record, answer, two_steps in zip(asked, answers, through, strict=True):
            truth = name_of(record, target)
            correct = answer.data == truth
            right += two_steps.data == truth
            rows.append(
                [
                    f"{source} → {target}",
                    page.word(name_of(record, source), source),
                    page.word(answer.data, target, correct),
                    page.word(two_steps.data, target, two_steps.data == truth),
                    page.word(truth, target),
                    page.soft(name_of(record)),
                    page.tag(record.held_out),
                ]
            )
            items.append(
                {"from": name_of(record, source), "to": answer.data, "through_en": two_steps.data, "truth": truth}
            )
    return Section(
        "Translate between languages whose pair was never trained",
        "Training paired each of these languages with others, but not with one another. Translations are made "
        "directly, and in two steps through English, as the command does for such pairs; the score counts the latter.",
        f'vqfusion translate "{items[0]["from"]}" --from {pairs[0][1]} --to {pairs[0][0]}' if items else "",
        page.table(["direction", "given", "direct", "through English", "truth", "in English", "concept"], rows),
        items,
        right,
        len(items),
    )


def write(stage: Stage) -> Section:
    """Names generated without any input."""
    from vqfusion.models.sampling import Sampling

    known = {name_of(record) for record in stage.training("text:en")}
    made = stage.system.generate({}, "text:en", Sampling(samples=12, seed=stage.seed)).samples[0]
    names = list(dict.fromkeys(sample.data for sample in made))
    tags = [page.tag("") if name in known else page.chip("not a training name", new=True) for name in names]
    tiles = [page.joined(page.word(name), tag) for name, tag in zip(names, tags, strict=True)]
    return Section(
        "Write a name without any input",
        "Twelve samples, without duplicates.",
        "vqfusion write --language en --samples 12",
        page.grid(tiles, 200),
        [{"name": name, "in_training": name in known} for name in names],
    )


def any_to_any(stage: Stage) -> Section:
    """Across modalities: picture to spoken German, sound to picture."""
    tiles, items = [], []
    language = "de" if "de" in stage.languages else stage.languages[0]
    voice = stage.system.labels("speaker")[0]
    seen = stage.draw(stage.held_out("pair", "image", "text:en"), 3, "any")
    words = stage.generate({"image": stage.load(seen, "image")}, f"text:{language}")
    said = stage.generate({f"text:{language}": words, "speaker": [Sample("label", voice)] * len(words)}, "audio")
    for record, text, sound in zip(seen, words, said, strict=True):
        correct = text.data == name_of(record, language)
        figure = page.picture(record.load("image").data, name_of(record))
        caption = page.joined("picture →", page.word(text.data, language, correct), f"→ voice {voice}")
        tiles.append(page.side(figure, page.tag(record.held_out), page.player(sound, caption)))
        items.append({"picture": name_of(record), "word": text.data, "language": language})
    clips = stage.draw(stage.held_out("voice", "audio", "text:en"), 3, "any")
    drawn = stage.pictures(stage.generate({"audio": stage.load(clips, "audio")}, "image"))
    for clip, sound, picture in zip(clips, stage.sounds(clips), drawn, strict=True):
        figure = page.picture(picture, "drawn from the sound")
        caption = page.joined("heard:", page.word(name_of(clip)))
        tiles.append(page.side(figure, page.tag(clip.held_out), page.player(sound, caption)))
        items.append({"sound": name_of(clip)})
    return Section(
        "From anything to anything",
        "Picture to a spoken word in two steps (name it, say it); sound to picture in one step.",
        "vqfusion any --given audio=clip.wav --target image -o heard.png",
        page.grid(tiles, 330),
        items,
    )


def _played(name: str, tag: str, sounds: dict[str, Sample]) -> str:
    """Tile with a name and several players."""
    return page.joined(name, tag, *(page.player(sound, caption) for caption, sound in sounds.items()))


def _by_language(stage: Stage, asked: list, slot_of, *more: str, target: str) -> list[Sample]:
    """Results for items whose given texts are in different languages, one call for each language."""
    found: list[Sample | None] = [None] * len(asked)
    for slot in dict.fromkeys(map(slot_of, asked)):
        chosen = [i for i, record in enumerate(asked) if slot_of(record) == slot]
        given = {name: [asked[i].load(name) for i in chosen] for name in (slot, *more)}
        for i, answer in zip(chosen, stage.generate(given, target), strict=True):
            found[i] = answer
    return [answer for answer in found if answer is not None]
