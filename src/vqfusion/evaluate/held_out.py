"""Score of a model on records that were held out of its training, task by task, beside a classical baseline."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vqfusion.data import Dataset, Record
from vqfusion.errors import UserError
from vqfusion.evaluate.metrics import Proportion, accuracy, edit_distance, expected_calibration_error, ratio_interval
from vqfusion.evaluate.rivals import Rivals, in_order, pairs_of
from vqfusion.modalities import in_words
from vqfusion.models.fusion.slots import SlotName
from vqfusion.models.fusion.system import System
from vqfusion.models.sampling import Sampling

FEWEST = 5  # records of a test part
NAMED, MADE = 5000, 500  # most records that are asked for a name, and for a text or a signal
AT_ONCE, AT_ONCE_TIMED = 64, 16  # records; fewer where the time may be over


@dataclass(frozen=True)
class Score:
    """Result of one task.

    Attributes:
        given: Slots that were given.
        target: Slot that was asked for.
        metric: What was measured.
        unit: Unit of the values: "%", or none.
        value: Result of the model.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        n: Number of records.
        baseline: Name of the baseline; "" where there is none.
        baseline_value: Its result on the same records.
        ece: Expected calibration error of probabilities of names, in [0, 1].
    """

    given: tuple[str, ...]
    target: str
    metric: str
    unit: str
    value: float
    low: float | None
    high: float | None
    n: int
    baseline: str = ""
    baseline_value: float | None = None
    ece: float | None = None

    @property
    def task(self) -> str:
        """Given and target slots."""
        return f"{' + '.join(self.given) or 'nothing'} -> {self.target}"

    def __str__(self) -> str:
        between = "" if self.low is None or self.high is None else f" ({self.low:.3g} to {self.high:.3g})"
        other = f"; {self.baseline} {_shown(self.baseline_value, self.unit)}" if self.baseline_value is not None else ""
        return f"{self.task}: {self.metric} {_shown(self.value, self.unit)}{between} of {self.n:,}{other}"

    def as_json(self) -> dict[str, Any]:
        """The score for JSON."""
        return asdict(self) | {"task": self.task}


def _shown(value: float | None, unit: str) -> str:
    return f"{value:.3g}{' ' + unit if unit else ''}"


def scores(
    system: System,
    dataset: Dataset,
    split: str = "test",
    limit: int | None = None,
    seconds: float | None = None,
    rivals: Rivals | None = None,
) -> list[Score]:
    """Score of every task that a model was trained for, on a part of the data that it did not learn from.

    Args:
        system: The model.
        dataset: Its data.
        split: Part to score on; the baselines learn from what the model learned from in train.
        limit: Most records of each task.
        seconds: Time after which no further records are asked for; each task gets its part.
        rivals: Baselines that were fitted before; None fits them.

    Returns:
        The scores; tasks of languages that are drawn at random, and those without a measure, are left out.

    Raises:
        UserError: The part has too few records.
    """
    test = in_order(dataset, split)
    if len(test) < FEWEST:
        raise UserError(f"data set {dataset.name!r} has {len(test)} records in {split}: too few to score on")
    pairs, out = pairs_of(system.config), list[Score]()
    rivals = rivals or Rivals(dataset.limited(system.config.limit_keys))
    began = time.monotonic()
    for i, (given, target) in enumerate(pairs):
        ends = None if seconds is None else began + seconds * (i + 1) / len(pairs)
        exam = _Exam(system, rivals, test, given, target, limit, ends)
        if exam.test and (score := exam.score()) is not None:
            out.append(score)
    return out


class _Exam:
    """One task on the records that have its slots."""

    def __init__(
        self,
        system: System,
        rivals: Rivals,
        test: list[Record],
        given: tuple[str, ...],
        target: str,
        limit: int | None,
        ends: float | None,
    ):
        self.system, self.rivals, self.given, self.target, self.ends = system, rivals, given, target, ends
        self.kind = SlotName.parse(target).modality
        self.test = [record for record in test if {*given, target} <= record.sources.keys()]
        self.named = system.config.fusion.slots[target].shape == (1,)
        self.test = self.test[: limit or (NAMED if self.named else MADE)]

    def score(self) -> Score | None:
        """The score; None where nothing can be measured."""
        if self.named:
            return self._names()
        if in_words(self.kind):
            return self._texts() if self.given else self._written()
        return self._recognised()

    def _names(self) -> Score:
        probabilities = list(self._in_parts(lambda part: self.system.distribution(self._given(part), self.target)))
        test = self.test[: len(probabilities)]
        answers = [next(iter(one.items())) if one else ("", 0.0) for one in probabilities]
        right = [name == record.load(self.target).data for (name, _), record in zip(answers, test, strict=True)]
        ece = expected_calibration_error(torch.tensor([p for _, p in answers]), torch.tensor(right))
        return self._shares(right, test, self.target, "right", ece)

    def _shares(self, right: Sequence[bool], test: list[Record], names: str, metric: str, ece: float | None) -> Score:
        found = accuracy(right)
        baseline, value = self._classified(test, names)
        return Score(self.given, self.target, metric, "%", *in_percent(found), found.n, baseline, value, ece)

    def _classified(self, test: list[Record], names: str) -> tuple[str, float | None]:
        """Name and result of the classifier for the first given slot that has one."""
        found = self.rivals.classifier(self.given, names)
        if found is None:
            return "", None
        slot, classifier = found
        answers = classifier.predict([record.load(slot) for record in test])
        right = [answer == record.load(names).data for answer, record in zip(answers, test, strict=True)]
        return classifier.name, 100 * sum(right) / len(right)

    def _texts(self) -> Score:
        made = list(self._in_parts(self._generated))
        answers = [one.data if one is not None else "" for one in made]
        test = self.test[: len(answers)]
        truth = [record.load(self.target).data for record in test]
        if self.rivals.is_few(self.target):
            return self._shares([a == b for a, b in zip(answers, truth, strict=True)], test, self.target, "right", None)
        source = self.rivals.source(self.given)
        if source and (bleu := _bleu()):
            memory = self.rivals.memory(source, self.target)
            other = bleu(memory.translate([record.load(source).data for record in test]), truth)
            value = bleu(answers, truth)
            return Score(self.given, self.target, "BLEU", "", value, None, None, len(test), memory.name, other)
        edits = torch.tensor([edit_distance(a, b) for a, b in zip(answers, truth, strict=True)])
        found = ratio_interval(edits, torch.tensor([len(one) for one in truth]))
        return Score(self.given, self.target, "characters wrong", "%", *in_percent(found), found.n)

    def _written(self) -> Score | None:
        texts: list[Any] = []
        bits = 0.0
        for part in self._parts():
            samples = [record.load(self.target) for record in part]
            fit = self.system.tokenizers.encode_fitting(self.target, samples)
            samples = [one for one, ids in zip(samples, fit, strict=True) if ids is not None]
            if samples:
                found = self.system.likelihood({}, {self.target: samples}, draws=4)
                bits += found.bits
                texts += [one.data for one in samples]
        if not texts:
            return None
        letters = self.rivals.letters(self.target)
        value, other = bits / sum(map(len, texts)), letters.bits_per_character(texts)
        return Score(
            self.given,
            self.target,
            "bits a character at most, its length given",
            "",
            value,
            None,
            None,
            len(texts),
            letters.name,
            other,
        )

    def _recognised(self) -> Score | None:
        """Share of generated pictures or sounds that a classifier of real ones takes for what was asked."""
        if (found_judge := self.rivals.judge(self.given, self.target)) is None:
            return None
        names, judge = found_judge
        made = list(self._in_parts(self._generated))
        test = self.test[: len(made)]
        truth = [record.load(names).data for record in test]
        heard = [judge.predict([one])[0] if one is not None else "" for one in made]
        real = judge.predict([record.load(self.target) for record in test])
        found = accuracy([a == b for a, b in zip(heard, truth, strict=True)])
        ceiling = 100 * sum(a == b for a, b in zip(real, truth, strict=True)) / len(truth)
        metric = f"taken for its {names} by {judge.name}"
        return Score(self.given, self.target, metric, "%", *in_percent(found), found.n, "the real ones", ceiling)

    def _generated(self, part: list[Record]) -> list[Any]:
        return [row[0] for row in self.system.generate(self._given(part), self.target, Sampling()).samples]

    def _given(self, part: list[Record]) -> dict[str, Any]:
        return {slot: [record.load(slot) for record in part] for slot in self.given}

    def _parts(self) -> Iterator[list[Record]]:
        """Records to ask for at once, until the time is over; always some."""
        size = AT_ONCE if self.ends is None else AT_ONCE_TIMED
        for at in range(0, len(self.test), size):
            if at and self.ends is not None and time.monotonic() > self.ends:
                return
            yield self.test[at : at + size]

    def _in_parts(self, ask: Callable[[list[Record]], list[Any]]) -> Iterator[Any]:
        """Answers in order; None for records that the model cannot take."""
        for part in self._parts():
            able = self._able(part)
            asked = [record for record, can in zip(part, able, strict=True) if can]
            answers = iter(ask(asked) if asked else [])
            yield from (next(answers) if can else None for can in able)

    def _able(self, part: list[Record]) -> list[bool]:
        """Whether the model knows the names that are given, and what is given fits its slots, for each record."""
        able = [True] * len(part)
        for slot in self.given:
            samples = [record.load(slot) for record in part]
            if self.system.tokenizers[slot].closed:
                known = set(self.system.labels(slot))
                fits = [sample.data in known for sample in samples]
            else:
                fits = [ids is not None for ids in self.system.tokenizers.encode_fitting(slot, samples)]
            able = [one and other for one, other in zip(able, fits, strict=True)]
        return able


def in_percent(found: Proportion) -> tuple[float, float, float]:
    """Value and ends of the interval in percent."""
    return 100 * found.value, 100 * found.low, 100 * found.high


def _bleu() -> Callable[[list[str], list[str]], float] | None:
    """Corpus BLEU of sacrebleu; None where the package of the extra `eval` is missing."""
    try:
        from sacrebleu import corpus_bleu
    except ImportError:
        return None
    return lambda answers, truth: float(corpus_bleu(answers, [truth]).score)
