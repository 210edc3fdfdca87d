"""Conformance of tasks: what must not matter does not matter, for ours and yours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vqfusion.data.content import item_numbers
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.sampling import Sampling
from vqfusion.tasks.task import Answer, Task
from vqfusion.types import Sample

TOLERANCE = 2e-3  # of the range of an answer; float32 through a network and back stays well below


@dataclass(frozen=True)
class TaskReport:
    """What was checked: the contracts that are kept, and why others do not apply."""

    name: str
    kept: tuple[str, ...]
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """The same content in another encoding.

    Attributes:
        modalities: Where it can be made.
        make: The sample in the other encoding.
        back: An answer in that encoding as it would be in the first one.
        keeps_units: Whether a noise level that is given stays what it was.
        exactly: Whether probabilities stay what they were; else only the most probable name.
    """

    modalities: tuple[str, ...]
    make: Callable[[Sample], Sample]
    back: Callable[[Sample], Sample]
    keeps_units: bool = True
    exactly: bool = True


def _data(change: Callable[[Tensor], Tensor]) -> Callable[[Sample], Sample]:
    return lambda sample: replace(sample, data=change(sample.data))


CHANGES: dict[str, Change] = {
    "grey in three channels": Change(
        ("image",),
        _data(lambda x: x.mean(0, keepdim=True).expand(3, *x.shape[1:])),
        _data(lambda x: x.mean(0, keepdim=True)),
    ),
    "another gain": Change(
        ("audio",), _data(lambda x: 0.02 * x), _data(lambda x: x / 0.02), keeps_units=False, exactly=False
    ),
    "two equal channels": Change(("audio",), _data(lambda x: x.expand(2, -1)), _data(lambda x: x[1:])),
    "another unit": Change(
        tuple(name for name, row in MODALITIES.items() if row.own_units),
        _data(lambda x: 40 * x + 1000),
        _data(lambda x: (x - 1000) / 40),
        keeps_units=False,
    ),
    "channels in another order": Change(
        tuple(name for name, row in MODALITIES.items() if row.by_channel),
        _data(lambda x: x.flip(0)),
        _data(lambda x: x.flip(0)),
    ),
    "float64": Change(
        tuple(name for name, row in MODALITIES.items() if row.rank), _data(lambda x: x.double()), _data(lambda x: x)
    ),
}


def check_task(task: Task, model: Any, samples: Sequence[Sample], steps: int | None = None) -> TaskReport:
    """Check that a task keeps the contracts of all tasks, on some samples of one modality.

    An item is answered the same alone and among others, twice, and in other encodings (`CHANGES`); what is given
    stays as it is; what is known of it (rate, spacing, names, extent) comes back with it; answers are finite; and odd
    signals (constant, one peak, very small) are answered or refused in one line.

    Args:
        task: The task with its options, e.g. `TASKS["denoise"]()`.
        model: What `vqfusion.load` gave.
        samples: At least two different samples of a modality that the task accepts, of a kind that the model knows.
        steps: Sampling steps; None leaves them to the model.

    Returns:
        The names of the contracts that are kept, and those that do not apply, with the reason.

    Raises:
        AssertionError: A contract is broken; the message is one line that names it.
    """
    asking = _Asking(task, model, steps)
    given = [replace(one, data=one.data.clone()) if isinstance(one.data, Tensor) else one for one in samples]
    alone = [asking(one) for one in given]
    kept, skipped = [], {}
    checks: dict[str, Callable[[], None]] = {
        "given samples are not changed": lambda: _same(given, list(samples), "a given sample", 0.0),
        "twice the same": lambda: _compare(asking(given[0]), alone[0], "the second answer"),
        "alone as among others": lambda: _together(asking, given, alone),
        "finite": lambda: _finite(alone),
        "what is known comes back": lambda: _known(task, given, alone),
        "odd signals": lambda: _odd(asking, given[0]),
    }
    for name, change in CHANGES.items():
        if given[0].modality not in change.modalities:
            continue
        if not change.keeps_units and getattr(task, "sigma", None) is not None:
            skipped[name] = "the noise level is given in the first encoding"
            continue
        checks[name] = lambda change=change: _changed(asking, given[0], change)  # type: ignore[misc]
    for name, check in checks.items():
        try:
            check()
        except AssertionError as error:
            raise AssertionError(f"{task.name} of {given[0].modality} breaks {name!r}: {error}") from None
        kept.append(name)
    return TaskReport(task.name, tuple(kept), skipped)


@dataclass(frozen=True)
class _Asking:
    """A task and a model, asked as the command asks them."""

    task: Task
    model: Any
    steps: int | None

    def __call__(self, *samples: Sample) -> Answer:
        sampling = Sampling(steps=self.steps, items=item_numbers(samples, set()))
        return self.task(self.model, list(samples), sampling)


def _together(asking: _Asking, given: list[Sample], alone: list[Answer]) -> None:
    both = asking(*given)
    for i, answer in enumerate(alone):
        one = replace(both, samples=both.samples[i : i + 1], distributions=both.distributions[i : i + 1])
        _compare(one, answer, f"item {i} among others")


def _changed(asking: _Asking, sample: Sample, change: Change) -> None:
    plain = asking(change.back(change.make(sample)))
    answer = asking(change.make(sample))
    result = answer.samples[0][0].modality if answer.samples else ""
    if result == sample.modality:
        answer = replace(answer, samples=[[change.back(one) for one in item] for item in answer.samples])
    if not change.exactly:
        plain, answer = _most_probable(plain), _most_probable(answer)
    _compare(answer, plain, "the answer")


def _most_probable(answer: Answer) -> Answer:
    return replace(
        answer, distributions=[{max(names, key=lambda name: names[name]): 1.0} for names in answer.distributions]
    )


def _finite(answers: list[Answer]) -> None:
    for answer in answers:
        for item in answer.samples:
            for one in item:
                if isinstance(one.data, Tensor):
                    _expect(bool(one.data.isfinite().all()), "an answer holds NaN or infinity")
        for distribution in answer.distributions:
            total = sum(distribution.values())  # of the most probable names, or of all
            _expect(0 < total < 1 + 1e-3, f"probabilities add up to {total:.3g}")


def _known(task: Task, given: list[Sample], answers: list[Answer]) -> None:
    factor = getattr(task, "factor", 1)
    for sample, answer in zip(given, answers, strict=True):
        for one in answer.samples[0] if answer.samples else ():
            if one.modality != sample.modality or not isinstance(sample.data, Tensor):
                continue
            size = tuple(factor * n for n in sample.data.shape[1:])
            _expect(tuple(one.data.shape[1:]) == size, f"the extent is {tuple(one.data.shape[1:])}, not {size}")
            _expect(len(one.data) == len(sample.data), f"{len(sample.data)} channels become {len(one.data)}")
            for name in ("sample_rate_hz", "rate_hz", "channel_names"):
                _expect(getattr(one, name) == getattr(sample, name), f"{name} becomes {getattr(one, name)}")
            if factor == 1:
                for name in ("spacing_mm", "affine"):
                    _expect(getattr(one, name) == getattr(sample, name), f"{name} becomes {getattr(one, name)}")


def _odd(asking: _Asking, sample: Sample) -> None:
    if not isinstance(sample.data, Tensor):
        return
    peak = torch.zeros_like(sample.data)
    peak.view(-1)[peak.numel() // 2] = 1
    small = sample.data[(slice(None), *[slice(0, 1)] * (sample.data.ndim - 1))]
    odd = {"all zero": 0 * peak, "constant": torch.full_like(peak, 0.5), "one peak": peak, "one value": small}
    for name, data in odd.items():
        try:
            answer = asking(replace(sample, data=data))
        except UserError as refusal:
            _expect("\n" not in str(refusal), f"{name}: the refusal has several lines")
            continue
        try:
            _finite([answer])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def _compare(one: Answer, other: Answer, what: str) -> None:
    _expect(len(one.samples) == len(other.samples), f"{what} has {len(one.samples)} items, not {len(other.samples)}")
    for first, second in zip(one.samples, other.samples, strict=True):
        _same(first, second, what, TOLERANCE)
    for mine, theirs in zip(one.distributions, other.distributions, strict=True):
        _expect(mine.keys() == theirs.keys(), f"{what} has other names")
        gap = max(abs(mine[name] - theirs[name]) for name in mine)
        _expect(gap < 0.01, f"{what} differs by {gap:.3g} in a probability")


def _same(one: Sequence[Sample], other: Sequence[Sample], what: str, tolerance: float) -> None:
    for first, second in zip(one, other, strict=True):
        if not isinstance(first.data, Tensor):
            _expect(first.data == second.data, f"{what} is {first.data!r}, not {second.data!r}")
            continue
        _expect(first.data.shape == second.data.shape, f"{what} is {tuple(first.data.shape)}")
        there = first.data.isfinite()
        _expect(bool((there == second.data.isfinite()).all()), f"{what} has gaps elsewhere")
        if bool(there.any()):
            gap = (first.data[there].double() - second.data[there].double()).abs().max()
            reach = second.data[there].double().abs().max().clamp(min=1e-12)
            _expect(float(gap / reach) <= tolerance, f"{what} differs by {float(gap / reach):.3g} of its range")


def _expect(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
