"""Samples that are far larger, smaller, longer or shorter than the others."""

from collections.abc import Iterator

import numpy as np

from vqfusion.data.audit.check import Check, far_out
from vqfusion.data.audit.item import Finding, Severity, by_slot
from vqfusion.data.audit.survey import Survey

RATIO = 2.0  # to the median, from which a size that is far out is also odd


class OddSize(Check):
    """Samples of unusual size."""

    name = "odd-size"
    severity = Severity.WARNING
    about = (
        "Far longer, shorter, larger, smaller, wider or narrower than the others: beyond three interquartile ranges on "
        "a scale of ratios, and by a factor of two."
    )

    def find(self, survey: Survey) -> Iterator[Finding]:
        found: dict[str, tuple[float, str]] = {}
        for items in by_slot([item for item in survey.items if item.measured]).values():
            for size in dict.fromkeys(name for item in items if item.measured for name in item.measured.sizes):
                having = [item for item in items if item.measured and size in item.measured.sizes]
                values = np.log([max(item.measured.sizes[size], 1e-9) for item in having if item.measured])
                middle = float(np.median(values)) if len(values) else 0.0
                odd = (far_out(values) | far_out(values, above=False)) & (np.abs(values - middle) > np.log(RATIO))
                for i in np.flatnonzero(odd):
                    ratio = float(np.exp(values[i] - middle))
                    said = f"{np.exp(values[i]):.4g} {size}, {ratio:.3g} times the median"
                    away = abs(float(np.log(ratio)))
                    if away > found.get(having[i].name, (0.0, ""))[0]:
                        found[having[i].name] = (away, said)
        for name, (_, said) in sorted(found.items(), key=lambda row: -row[1][0]):
            yield Finding(name, said)
