"""What a check is, the registry of all checks, and the two kinds that most checks are of."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from vqfusion.data.audit.item import Finding, Item, Severity, by_slot
from vqfusion.data.audit.survey import Survey

CHECKS: dict[str, type["Check"]] = {}
FEWEST = 20  # items below which nothing is said about what is usual among them
FENCE = 3.0  # interquartile ranges beyond the quartiles: "far out" (Tukey, 1977, "Exploratory data analysis")


class Check(ABC):
    """One kind of fault. A subclass with a `name` is in the registry, and so in the command, reports and tests.

    Attributes:
        name: Name on the command line and in reports.
        severity: How bad a finding is.
        about: What is found, what it harms, and what to do, in a sentence or two.
    """

    name: ClassVar[str] = ""
    severity: ClassVar[Severity]
    about: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """Put a named check into the registry."""
        if cls.name:
            CHECKS[cls.name] = cls

    def looks_at(self, survey: Survey) -> int:
        """Number of items that the check can say something about."""
        return len(survey.items)

    @abstractmethod
    def find(self, survey: Survey) -> Iterator[Finding]:
        """Findings in a data set, the worst first."""


class FactCheck(Check):
    """A check of one measurement of each item by itself; it concerns the modalities that have this measurement.

    Attributes:
        fact: Name of the measurement.
        drop: Whether the cleaned manifest leaves the item out.
    """

    fact: ClassVar[str]
    drop: ClassVar[bool] = False

    def looks_at(self, survey: Survey) -> int:
        return len(self.measured(survey))

    def measured(self, survey: Survey) -> list[Item]:
        """Items with this measurement."""
        return [item for item in survey.items if item.measured and self.fact in item.measured.facts]

    @abstractmethod
    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        """Which of the values are faults."""

    @abstractmethod
    def said(self, value: float, item: Item) -> str:
        """What is wrong with an item, in a few words."""

    def find(self, survey: Survey) -> Iterator[Finding]:
        found = []
        for items in by_slot(self.measured(survey)).values():
            values = np.array([item.measured.facts[self.fact] for item in items if item.measured])
            found += [(items[i], float(values[i])) for i in np.flatnonzero(self.bad(values, items))]
        for item, value in sorted(found, key=lambda row: -abs(row[1])):
            yield Finding(item.name, self.said(value, item), value, self.drop)


def far_out(values: np.ndarray, above: bool = True) -> np.ndarray:
    """Which values lie beyond Tukey's outer fence, on one side; none of fewer than `FEWEST` values.

    Of a normal distribution 1 value in 400,000 does, and a quarter of the items may be faulty before the fence moves.
    """
    if len(values) < FEWEST:
        return np.zeros(len(values), bool)
    low, high = np.quantile(values, (0.25, 0.75))
    width = FENCE * (high - low)
    return values > high + width if above else values < low - width
