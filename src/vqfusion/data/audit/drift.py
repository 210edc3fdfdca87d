"""How one data set differs from another: sizes and measurements, features, labels, and what both contain."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vqfusion.data.audit.embedding import reduced
from vqfusion.data.audit.item import Finding, Item, by_slot
from vqfusion.data.audit.similar import near_groups, same_groups
from vqfusion.data.audit.survey import Survey

FEWEST = 20
FOLDS, DIMS, MOST = 5, 32, 5000
APART = 0.2  # Kolmogorov-Smirnov distance of a measurement that counts as a shift
SIGNIFICANT = 0.001  # divided by the number of tests
LEAST_SHARE = 0.05  # difference of the shares of a class; also four standard errors of it
TELLABLE = 0.7  # area under the curve of a classifier that tells the sets apart


@dataclass(frozen=True)
class Shift:
    """One respect in which two data sets differ.

    Attributes:
        slot: Slot that was compared, or "label".
        what: Measurement, size, "features" or the name of a class.
        distance: Kolmogorov-Smirnov distance, area under the curve, or difference of shares.
        before: Median or share in the data set that was checked.
        after: Median or share in the other one.
        large: Whether it is larger than chance and than what matters.
    """

    slot: str
    what: str
    distance: float
    before: float
    after: float
    large: bool


def shifts(one: Survey, other: Survey) -> list[Shift]:
    """Differences between two data sets, the largest first.

    Every size and measurement of a slot is compared by the two-sample test of Kolmogorov and Smirnov, with
    Bonferroni's correction; the features by how well a cross-validated logistic regression tells the sets apart
    (Lopez-Paz, Oquab, 2017); labels by their shares.
    """
    from scipy.stats import ks_2samp

    found: list[Shift] = []
    others = by_slot(other.items)
    tests = []
    for slot, items in by_slot(one.items).items():
        ours, theirs = _values(items), _values(others.get(slot, []))
        tests += [(slot, name, ours[name], theirs[name]) for name in ours if name in theirs]
        area = told_apart(items, others.get(slot, []))
        if area is not None:
            found.append(Shift(slot, "features", area, 0.5, 0.5, area > TELLABLE))
    for slot, name, before, after in tests:
        if min(len(before), len(after)) >= FEWEST:
            test = ks_2samp(before, after)
            large = test.statistic > APART and test.pvalue < SIGNIFICANT / len(tests)
            medians = float(np.median(before)), float(np.median(after))
            found.append(Shift(slot, name, float(test.statistic), *medians, bool(large)))
    shares = [Counter(label for label in survey.labels if label) for survey in (one, other)]
    if all(shares):
        for label in shares[0] | shares[1]:
            here, there = (count[label] / sum(count.values()) for count in shares)
            counted = [sum(count.values()) for count in shares]
            pooled = (shares[0][label] + shares[1][label]) / sum(counted)
            error = np.sqrt(pooled * (1 - pooled) * (1 / counted[0] + 1 / counted[1]))
            far = abs(here - there) > max(LEAST_SHARE, 4 * error)
            found.append(Shift("label", label, abs(here - there), here, there, bool(far)))
    return sorted(found, key=lambda shift: (-shift.large, -shift.distance))


def told_apart(ours: Sequence[Item], theirs: Sequence[Item]) -> float | None:
    """Area under the curve with which features tell two sets apart: 0.5 is chance; None for few items."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    parts = [[one for one in items if one.measured and one.measured.embedding is not None] for items in (ours, theirs)]
    random = np.random.default_rng(0)
    parts = [[rows[i] for i in sorted(random.permutation(len(rows))[:MOST])] for rows in parts]
    if min(map(len, parts)) < FEWEST:
        return None
    truth = np.repeat([0, 1], [len(rows) for rows in parts])
    points = reduced(parts[0] + parts[1], DIMS)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    p = cross_val_predict(LogisticRegression(), points, truth, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(truth, p))


def shared(one: Survey, other: Survey) -> Iterator[Finding]:
    """Items of one data set that the other one has too, with the same bytes or nearly the same content."""
    ours = [replace(item, splits={"here"}) for item in one.items]
    theirs = [replace(item, splits={"there"}) for item in other.items]
    reported = set()
    for group in same_groups(ours + theirs) + near_groups(ours + theirs):
        there = [item for item in group if "there" in item.splits]
        for item in group:
            if there and item not in there and item.name not in reported:
                reported.add(item.name)
                yield Finding(item.name, f"also there, as {there[0].name}", None, True, with_names=(there[0].name,))


def _values(items: Sequence[Item]) -> dict[str, list[float]]:
    """Every size and measurement of some items."""
    found: dict[str, list[float]] = {}
    for item in items:
        if item.measured:
            for name, value in {**item.measured.sizes, **item.measured.facts}.items():
                found.setdefault(name, []).append(value)
    return found
