"""Duplicates, near duplicates, and the same content in two splits."""

from collections.abc import Iterator, Sequence
from typing import Any

from vqfusion.data.audit.check import Check
from vqfusion.data.audit.item import Finding, Item, Severity
from vqfusion.data.audit.survey import Survey

TRAIN = "train"


class Duplicates(Check):
    """Files with the same bytes."""

    name = "duplicates"
    severity = Severity.WARNING
    about = "The same content under several names: it counts several times in training. The first one is kept."

    def find(self, survey: Survey) -> Iterator[Finding]:
        for group in survey.same:
            yield from _others(group, [-i for i in range(len(group))], "same bytes as")


class NearDuplicates(Check):
    """Files that look, sound or read the same."""

    name = "near-duplicates"
    severity = Severity.WARNING
    about = (
        "Looks, sounds or reads the same as another one, in another encoding, size, level or spelling. The larger or "
        "longer one is kept."
    )

    def find(self, survey: Survey) -> Iterator[Finding]:
        for group in survey.near:
            sizes = [(tuple(item.measured.sizes.values()) if item.measured else (), item.name) for item in group]
            yield from _others(group, sizes, "nearly the same as")


def _others(group: Sequence[Item], worth: Sequence[Any], said: str) -> Iterator[Finding]:
    """All but the most worthy of a group; the most worthy of each split is not dropped, which is a matter of leaks."""
    best = max(range(len(group)), key=worth.__getitem__)
    for i, item in enumerate(group):
        if i != best:
            rivals = [k for k, other in enumerate(group) if other.splits & item.splits]
            drop = max(rivals, key=worth.__getitem__, default=i) != i
            told = f"{said} {group[best].name}{_quoted(item)}"
            yield Finding(item.name, told, None, drop, with_names=(group[best].name,))


def _quoted(item: Item) -> str:
    """The beginning of a text, whose name says nothing of it."""
    return f": {item.measured.head[:60]!r}" if item.measured and item.measured.head else ""


class Leaks(Check):
    """The same content in two splits."""

    name = "leaks"
    severity = Severity.SERIOUS
    about = (
        "The same, or nearly the same, in training and in a split that should be new to the model: its score would be "
        "too good. The copy in training is left out."
    )

    def find(self, survey: Survey) -> Iterator[Finding]:
        reported = set()
        for item in survey.items:
            if len(item.splits) > 1 and item.alone:
                reported.add(item.name)
                yield Finding(item.name, f"one file in {' and '.join(sorted(item.splits))}", None, True, TRAIN)
        for group in survey.same + survey.near:
            if len({split for item in group for split in item.splits}) < 2:
                continue
            elsewhere = next((item for item in group if item.splits != {TRAIN}), group[0])
            for item in group:
                if item.splits != elsewhere.splits and item.name not in reported:
                    reported.add(item.name)
                    here, there = ("/".join(sorted(one.splits)) for one in (item, elsewhere))
                    said = f"in {here} and, as {elsewhere.name}, in {there}{_quoted(item)}"
                    yield Finding(item.name, said, None, True, TRAIN, (elsewhere.name,))
