"""Samples unlike all others."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from vqfusion.data.audit.check import Check
from vqfusion.data.audit.embedding import matrix_of
from vqfusion.data.audit.item import Finding, Item, Severity, by_slot
from vqfusion.data.audit.survey import Survey

FEWEST = 50
MOST_Z = 20.0
BEYOND = 3.0  # robust standard deviations of the logarithm of the mean deviation: 1 in 700 of a normal distribution
NORMAL = 1.4826  # standard deviation of a normal distribution relative to its median absolute deviation


class Outliers(Check):
    """Samples whose features are unusual all at once."""

    name = "outliers"
    severity = Severity.WARNING
    about = (
        "Its coarse features lie further from the middle than those of nearly all others: other than the rest, "
        "or a fault of a kind that no check knows. A few of many good files are always far out: look before you drop."
    )

    def looks_at(self, survey: Survey) -> int:
        return sum(len(items) for items in _embedded(survey))

    def find(self, survey: Survey) -> Iterator[Finding]:
        found = []
        for items in _embedded(survey):
            distances = np.log(mean_deviation(matrix_of(items)))
            middle = np.median(distances)
            far = (distances - middle) / max(NORMAL * float(np.median(np.abs(distances - middle))), 1e-6)
            found += [(items[i], float(far[i])) for i in np.flatnonzero(far > BEYOND)]
        for item, far_out in sorted(found, key=lambda row: -row[1]):
            yield Finding(item.name, f"{far_out:.1f} standard deviations further out than usual", far_out)


def mean_deviation(points: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """Mean over the features of the distance from the median, in robust standard deviations of each feature.

    Median and median absolute deviation hold with up to half of the items faulty (Rousseeuw, Hubert, 2011); distances
    to neighbours do not, since foreign files come in groups and are near to each other.
    """
    away = np.abs(points - np.median(points, 0))
    spread = NORMAL * np.median(away, 0)
    return np.minimum(away / (spread + 0.1 * np.median(spread) + 1e-6), MOST_Z).mean(1) + 1e-6


def _embedded(survey: Survey) -> list[list[Item]]:
    """Items of each slot that has enough of them; texts have too little in common to be far from others."""
    slots = by_slot([item for item in survey.items if item.measured and item.measured.embedding is not None])
    dense = (items for items in slots.values() if all(_dense(item) for item in items))
    return [items for items in dense if len(items) >= FEWEST]


def _dense(item: Item) -> bool:
    assert item.measured and item.measured.embedding is not None
    return item.measured.embedding.dtype.kind == "f"
