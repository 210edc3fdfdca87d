"""Labels that are probably wrong, and classes with few items."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from vqfusion.data.audit.check import Check
from vqfusion.data.audit.confident import label_quality, probabilities
from vqfusion.data.audit.embedding import dense_of, reduced
from vqfusion.data.audit.item import Finding, Item, Severity, by_slot
from vqfusion.data.audit.survey import Survey

FEWEST = 10  # items of a class, below which its labels are not judged
DIMS = 64  # in which neighbours are looked for
RATIO = 10  # between the largest class and one that is small beside it


class LabelErrors(Check):
    """Items whose label is probably wrong."""

    name = "label-errors"
    severity = Severity.WARNING
    about = (
        "A classifier that was trained on the other items is sure of another class (confident learning, Northcutt et "
        "al., 2021, cross-validated). Look at these labels; the most doubtful come first."
    )

    def looks_at(self, survey: Survey) -> int:
        return sum(len(items) for items in _labelled(survey))

    def find(self, survey: Survey) -> Iterator[Finding]:
        found = []
        for items in _labelled(survey):
            names = sorted({item.label for item in items})
            labels = np.array([names.index(item.label) for item in items])
            p = probabilities(dense_of(items), reduced(items, DIMS), labels)
            suspect, fit = label_quality(p, labels)
            found += [(items[i], float(fit[i]), names[int(p[i].argmax())]) for i in np.flatnonzero(suspect)]
        for item, doubt, name in sorted(found, key=lambda row: row[1]):
            yield Finding(item.name, f"labelled {item.label!r}, looks like {name!r}", doubt)


class Imbalance(Check):
    """Classes that are much smaller than the largest."""

    name = "imbalance"
    severity = Severity.NOTE
    about = "The class has less than a tenth of the items of the largest one: it is learned badly, and hardly measured."

    def looks_at(self, survey: Survey) -> int:
        return len(set(survey.labels) - {""})

    def find(self, survey: Survey) -> Iterator[Finding]:
        counts = Counter(label for label in survey.labels if label)
        most = max(counts.values(), default=0)
        for label, count in sorted(counts.items(), key=lambda row: row[1]):
            if count * RATIO < most:
                yield Finding(label, f"{count} records, the largest class has {most}", count / most)


def _labelled(survey: Survey) -> list[list[Item]]:
    """Items of each slot with an embedding, and a label that enough items have; at least two classes."""
    found = []
    for items in by_slot([item for item in survey.items if item.label]).values():
        having = [item for item in items if item.measured and item.measured.embedding is not None]
        counts = Counter(item.label for item in having)
        kept = [item for item in having if counts[item.label] >= FEWEST]
        if len({item.label for item in kept}) > 1:
            found.append(kept)
    return found
