"""Pictures without content, over-exposed, or out of focus."""

from collections.abc import Sequence

import numpy as np

from vqfusion.data.audit.check import FactCheck, far_out
from vqfusion.data.audit.item import Item, Severity

BLANK = 0.02  # range of brightness of 98 % of the pixels: five steps of 255
SATURATED, ALL_SATURATED = 0.25, 0.95
BLURRED_PX, UNUSABLE_PX = 1.2, 4.0


class Blank(FactCheck):
    """Pictures of one brightness."""

    name = "blank"
    severity = Severity.SERIOUS
    about = "98 % of the pixels differ by less than five steps of 255: there is nothing to see."
    fact = "range"
    drop = True

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        return values < BLANK

    def said(self, value: float, item: Item) -> str:
        return f"brightness varies by {100 * value:.1f} %"


class Saturated(FactCheck):
    """Pictures with many values at the ends of their range."""

    name = "saturated"
    severity = Severity.WARNING
    about = (
        "So many values are at the black or white end of their range, compared with the other pictures here, that the "
        "exposure was wrong and detail is lost."
    )
    fact = "saturated"

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        detail = np.array([item.measured.facts["range"] >= BLANK for item in items if item.measured])
        return detail & ((values > ALL_SATURATED) | (values > SATURATED) & far_out(values))

    def said(self, value: float, item: Item) -> str:
        return f"{100 * value:.0f} % of the values are at an end of their range"


class Blurred(FactCheck):
    """Pictures whose sharpest edges are wide."""

    name = "blurred"
    severity = Severity.WARNING
    about = (
        "Even the sharpest edges are wide, compared with the other pictures here: out of focus, moved, or enlarged "
        "from a smaller picture."
    )
    fact = "blur_px"

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        return (values > UNUSABLE_PX) | (values > BLURRED_PX) & (values > 2 * np.median(values))

    def said(self, value: float, item: Item) -> str:
        return f"the sharpest edges are {value:.1f} pixels wide"
