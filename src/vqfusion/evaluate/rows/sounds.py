"""Rows about speech: transcribe, speak, speaker."""

import torch

from vqfusion.evaluate.baselines.recogniser import NameRecogniser
from vqfusion.evaluate.baselines.sounds import MfccClassifier
from vqfusion.evaluate.bench import Bench, row, top
from vqfusion.evaluate.metrics import (
    accuracy,
    character_error_rate,
    edit_distance,
    expected_calibration_error,
    ratio_interval,
)
from vqfusion.evaluate.report import Row
from vqfusion.types import Sample


def transcribe(bench: Bench) -> list[Row]:
    """Character error rate on unseen voices in every language, and compared with pocketsphinx in English."""
    rows = []
    for kind, most in (("voice", 192), ("concept", 96)):
        who, clips = bench.unseen(kind), bench.pick(bench.held_out(kind, "audio"), most)
        if not clips:
            continue
        said, heard = _transcripts(bench, clips)
        edits = torch.tensor([edit_distance(h, s) for h, s in zip(heard, said, strict=True)])
        length = torch.tensor([len(s) for s in said])
        languages = [_language(clip) for clip in clips]
        parts = []
        for language in sorted(set(languages)):
            chosen = torch.tensor([other == language for other in languages])
            parts.append(f"{language} {100 * edits[chosen].sum() / length[chosen].sum():.1f}")
        exact = accuracy(edits == 0)
        rows.append(
            row(
                "transcribe",
                f"transcribe, {who}, {len(parts)} languages",
                "character error rate",
                ratio_interval(edits, length),
                "%",
                sense="<=",
                target=10.0 if kind == "voice" else None,
                note=f"{', '.join(parts)}; {100 * exact.value:.0f} % of the names without any error",
            )
        )
        if kind == "concept":
            continue
        english = [i for i, language in enumerate(languages) if language == "en"]
        ear = _recogniser(bench)
        known = [i for i in english if said[i] in ear]
        if not known:
            continue
        rate = bench.system.sample_rate_hz
        theirs = [ear.hear(sound.data, rate) for sound in bench.sounds([clips[i] for i in known])]
        names = [said[i] for i in known]
        rows.append(
            row(
                "transcribe",
                f"transcribe, {who}, English names known to pocketsphinx",
                "character error rate",
                ratio_interval(edits[known], length[known]),
                "%",
                sense="<=",
                baselines={"pocketsphinx + name list": 100 * character_error_rate(theirs, names)},
                note=f"the grammar holds {len(ear.names)} names; {len(known)} of {len(english)} English "
                "clips are among them; the model has no list",
            )
        )
    return rows


def speak(bench: Bench) -> list[Row]:
    """Whether pocketsphinx understands generated speech as often as the recordings of the training data."""
    ear, rows, system = _recogniser(bench), [], bench.system
    voices = set(system.labels("speaker"))
    for seen in (True, False):
        clips = bench.training("audio", "text:en") if seen else bench.held_out("concept", "audio", "text:en")
        clips = [clip for clip in clips if clip.load("text:en").data in ear]
        clips = [clip for clip in bench.pick(clips, 72) if clip.load("speaker").data in voices]
        if not clips:
            continue
        names = bench.texts(clips, "text:en")
        given = {"text:en": bench.load(clips, "text:en"), "speaker": bench.load(clips, "speaker")}
        real = bench.sounds(clips)

        def understood(sounds: list[Sample], names=names) -> list[bool]:
            pairs = zip(sounds, names, strict=True)
            return [ear.hear(s.data, s.sample_rate_hz or system.sample_rate_hz) == name for s, name in pairs]

        recorded = 100 * accuracy(understood(real)).value
        rows.append(
            row(
                "speak",
                f"speak, {'seen' if seen else 'unseen'} names",
                "understood by pocketsphinx",
                accuracy(understood(bench.generate(given, "audio"))),
                "%",
                target=0.8 * recorded,
                baselines={"the recordings": recorded},
                ceiling=100 * accuracy(understood(bench.reconstruct(real))).value,
                note=f"one of {len(ear.names)} English names; target: 80 % of the recordings' accuracy",
            )
        )
    return rows


def speaker(bench: Bench) -> list[Row]:
    """Whether the speaker is recognised by words that were not in training."""
    voices = set(bench.system.labels("speaker"))
    clips = [c for c in bench.held_out("concept", "audio", "speaker") if c.load("speaker").data in voices]
    clips, rate = bench.pick(clips, 256), bench.system.sample_rate_hz
    truth = bench.texts(clips, "speaker")
    sounds = bench.sounds(clips)
    answers = bench.system.distribution({"audio": sounds}, "speaker")
    correct = torch.tensor([top(d) == name for d, name in zip(answers, truth, strict=True)])
    confidence = torch.tensor([max(d.values()) for d in answers])
    train = bench.sample(bench.learned_from("audio", "speaker"), 2000)
    known, voices_of = bench.sounds(train), bench.texts(train, "speaker")

    def simple(train: list[Sample], names: list[str], asked: list[Sample]) -> float:
        classifier = MfccClassifier().fit([sound.data for sound in train], rate, names)
        guesses = classifier.predict([sound.data for sound in asked])
        return 100 * accuracy([guess == name for guess, name in zip(guesses, truth, strict=True)]).value

    few, voices_of_few = known[::2], voices_of[::2]
    return [
        row(
            "speaker",
            f"speaker, {len(voices)} seen voices, {bench.unseen('concept')}",
            "accuracy",
            accuracy(correct),
            "%",
            target=95.0,
            baselines={
                "MFCC + logistic regression": simple(known, voices_of, sounds),
                "the same on round trips": simple(bench.reconstruct(few), voices_of_few, bench.reconstruct(sounds)),
            },
            note=f"expected calibration error {100 * expected_calibration_error(confidence, correct):.1f} %; "
            f"the baseline learned from {len(train)} clips, on what the tokenizer leaves from {len(few)}",
        )
    ]


def _transcripts(bench: Bench, clips: list) -> tuple[list[str], list[str]]:
    said, heard = [""] * len(clips), [""] * len(clips)
    for language in sorted({_language(clip) for clip in clips}):
        chosen = [i for i, clip in enumerate(clips) if _language(clip) == language]
        slot = f"text:{language}"
        given = {"audio": bench.load([clips[i] for i in chosen], "audio")}
        for i, answer in zip(chosen, bench.generate(given, slot), strict=True):
            said[i], heard[i] = clips[i].load(slot).data, answer.data
    return said, heard


def _language(clip) -> str:
    return next(slot.removeprefix("text:") for slot in clip.slots if slot.startswith("text:"))


def _recogniser(bench: Bench) -> NameRecogniser:
    records = bench.dataset.select(slots=("text:en",))
    return NameRecogniser(sorted({record.load("text:en").data for record in records}))
