"""Every direction of the model `digits` on held-out items, beside classical baselines and what its codes keep.

Pictures and sounds that it makes are judged by support vector machines that were fitted to the real training items:
HOG for pictures, MFCC for sounds. The ceiling is the judge on real held-out items, and on their round trips through
the codes. Needs MNIST and FSDD in `$VQFUSION_DATA` (docs/zoo/digits.md).

    python benchmarks/digits.py
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import vqfusion
from vqfusion.data import Record, open_dataset
from vqfusion.data.numerals import NAMES
from vqfusion.data.record import in_turn
from vqfusion.evaluate.metrics import accuracy
from vqfusion.evaluate.rivals import Rivals
from vqfusion.models.sampling import Sampling
from vqfusion.types import Sample

RESULT = Path(__file__).parent / "results" / "digits.json"
AT_ONCE = 64


class Exam:
    """One model, its data, and the judges."""

    def __init__(self, model: str, split: str, limit: int):
        self.system, self.data = vqfusion.load(model), open_dataset("numerals")
        self.rivals = Rivals(self.data)
        test = in_turn(self.data.select(split))
        self.pictures = [one for one in test if "image" in one.slots][:limit]
        clips = [one for one in test if "audio" in one.slots]
        self.heard = [one for one in clips if not one.held_out][:limit]
        self.unheard = [one for one in clips if one.held_out][:limit]
        self.rows: list[dict] = []

    def add(self, task: str, right: Sequence[bool], **more: float) -> None:
        found = accuracy(right)
        row = {"task": task, "right": round(100 * found.value, 1), "low": round(100 * found.low, 1)}
        row |= {"high": round(100 * found.high, 1), "n": found.n}
        self.rows.append(row | {name: round(value, 1) for name, value in more.items()})
        print(json.dumps(self.rows[-1]), flush=True)

    def judged(self, slot: str, samples: Sequence[Sample], names: str = "label") -> list[str]:
        """What the judge takes pictures or sounds for."""
        found = self.rivals.classifier((slot,), names)
        assert found is not None
        return found[1].predict(samples)

    def made(self, given: dict[str, list[Sample]], target: str) -> list[Sample]:
        """Answers, one for each item."""
        count, out = len(next(iter(given.values()))), []
        for at in range(0, count, AT_ONCE):
            part = {slot: samples[at : at + AT_ONCE] for slot, samples in given.items()}
            out += [row[0] for row in self.system.generate(part, target, Sampling(seed=at)).samples]
        return out

    def labels(self, records: Sequence[Record]) -> list[str]:
        return [record.load("label").data for record in records]

    def names_of(self, task: str, slot: str, records: Sequence[Record]) -> None:
        """Label and name, in the languages in turn, of what is seen or heard; the judge on the same items."""
        samples, truth = [record.load(slot) for record in records], self.labels(records)
        answers = [next(iter(one)) for one in self.system.distribution({slot: samples}, "label")]
        by_judge = sum(a == b for a, b in zip(self.judged(slot, samples), truth, strict=True)) / len(truth)
        self.add(f"{task} -> label", same(answers, truth), baseline=100 * by_judge)
        right = []
        for i, language in enumerate(NAMES):
            part = records[i :: len(NAMES)]
            named = self.made({slot: [one.load(slot) for one in part]}, f"text:{language}")
            right += same([one.data for one in named], [one.load(f"text:{language}").data for one in part])
        self.add(f"{task} -> name", right)

    def signals(self, task: str, given: dict[str, list[Sample]], target: str, truth: list[str]) -> list[Sample]:
        """Pictures or sounds made from what is given, as the judge sees them."""
        samples = self.made(given, target)
        self.add(f"{task} -> {target}", same(self.judged(target, samples), truth))
        return samples

    def fits(self, slot: str, record: Record) -> bool:
        """Whether what a record holds is no longer than the slot."""
        return self.system.tokenizers.encode_fitting(slot, [record.load(slot)])[0] is not None

    def ceilings(self) -> None:
        """The judges on real held-out items and on their round trips."""
        for slot, records in (("image", self.pictures), ("audio", self.heard)):
            records = [one for one in records if self.fits(slot, one)]
            truth = self.labels(records)
            real = [record.load(slot) for record in records]
            trips = [self.system.reconstruct(one) for one in real]
            self.add(f"judge of {slot}, real items", same(self.judged(slot, real), truth))
            self.add(f"judge of {slot}, round trips", same(self.judged(slot, trips), truth))

    def run(self, draws: int) -> list[dict]:
        """All rows."""
        self.ceilings()
        self.names_of("image", "image", self.pictures)
        self.names_of("audio, voices of the training", "audio", self.heard)
        if self.unheard:
            self.names_of("audio, a voice never heard", "audio", self.unheard)
        voices = [one.load("speaker").data for one in self.heard]
        sounds = [one.load("audio") for one in self.heard]
        told = [next(iter(one)) for one in self.system.distribution({"audio": sounds}, "speaker")]
        by_judge = same(self.judged("audio", sounds, "speaker"), voices)
        self.add("audio -> speaker", same(told, voices), baseline=100 * sum(by_judge) / len(by_judge))
        self.signals("audio, voices of the training", {"audio": sounds}, "image", self.labels(self.heard))
        if self.unheard:
            unheard = {"audio": [one.load("audio") for one in self.unheard]}
            self.signals("audio, a voice never heard", unheard, "image", self.labels(self.unheard))
        seen = self.pictures[: 10 * draws]
        self.signals("image", {"image": [one.load("image") for one in seen]}, "audio", self.labels(seen))
        self.from_words(draws)
        return self.rows

    def from_words(self, draws: int) -> None:
        """Labels and names to everything, `draws` times for each digit, in all voices and languages in turn."""
        digits = [str(n % 10) for n in range(10 * draws)]
        known = self.system.labels("speaker")
        speakers = [known[(n // 10) % len(known)] for n in range(len(digits))]
        label, speaker = [Sample("label", one) for one in digits], [Sample("label", one) for one in speakers]
        self.signals("label", {"label": label}, "image", digits)
        self.voiced("label + speaker", {"label": label, "speaker": speaker}, digits, speakers)
        words = {language: line.split() for language, line in NAMES.items()}
        drawn: list[bool] = []
        spoken: dict[str, list[bool]] = {"digit": [], "voice": []}
        named, told, translated = [], [], []
        for i, (language, of) in enumerate(words.items()):
            part = [digits[j] for j in range(len(digits)) if (j // 10) % len(words) == i] or digits[:10]
            said = [Sample("text", of[int(one)]) for one in part]
            slot, other = f"text:{language}", list(words)[(i + 7) % len(words)]
            drawn += same(self.judged("image", self.made({slot: said}, "image")), part)
            voice = [known[(i + n // 10) % len(known)] for n in range(len(part))]
            sounds = self.made({slot: said, "speaker": [Sample("label", one) for one in voice]}, "audio")
            spoken["digit"] += same(self.judged("audio", sounds), part)
            spoken["voice"] += same(self.judged("audio", sounds, "speaker"), voice)
            told += same([next(iter(one)) for one in self.system.distribution({slot: said}, "label")], part)
            texts = [one.data for one in self.made({slot: said}, f"text:{other}")]
            translated += same(texts, [words[other][int(one)] for one in part])
            ten = [Sample("label", str(n)) for n in range(10)]
            named += same([one.data for one in self.made({"label": ten}, slot)], of)
        self.add("name -> image", drawn)
        self.add("name + speaker -> audio: digit", spoken["digit"])
        self.add("name + speaker -> audio: voice", spoken["voice"])
        self.add("name -> label", told)
        self.add("name -> name in another language", translated)
        self.add("label -> name", named)

    def voiced(self, task: str, given: dict[str, list[Sample]], digits: list[str], speakers: list[str]) -> None:
        sounds = self.made(given, "audio")
        self.add(f"{task} -> audio: digit", same(self.judged("audio", sounds), digits))
        self.add(f"{task} -> audio: voice", same(self.judged("audio", sounds, "speaker"), speakers))


def same(answers: Sequence[str], truth: Sequence[str]) -> list[bool]:
    return [a == b for a, b in zip(answers, truth, strict=True)]


def main(arguments: argparse.Namespace, clock: Callable[[], float] = time.process_time) -> None:
    began = clock()
    rows = Exam(arguments.model, arguments.split, arguments.limit).run(arguments.draws)
    if arguments.output:
        found = {"model": arguments.model, "split": arguments.split, "cpu_s": round(clock() - began), "rows": rows}
        Path(arguments.output).write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--split", default="test", help="val to choose by")
    parser.add_argument("--limit", type=int, default=2000, help="most held-out items of each kind")
    parser.add_argument("--draws", type=int, default=24, help="pictures and sounds for each digit")
    parser.add_argument("-o", "--output", default=str(RESULT), help="JSON file to write")
    main(parser.parse_args())
