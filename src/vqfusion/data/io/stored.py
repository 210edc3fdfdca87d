"""Numbers in the type in which a file stored them, so that results can be written in it."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stored:
    """Numbers `raw` as a file stored them, in the shape of the sample; a value is `raw * slope + intercept`.

    Unchanged values are written back exactly; changed ones are rounded and clipped to an integer type. Subclasses add
    what else their format holds.
    """

    raw: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0

    def values(self) -> np.ndarray:
        """Values in float32 where that holds them exactly, else in float64."""
        small = self.raw.dtype.kind == "b" or np.can_cast(self.raw.dtype, np.float32)
        if small and (self.slope, self.intercept) == (1.0, 0.0):
            return np.array(self.raw, np.float32, order="C")
        return np.array(self.raw, np.float64, order="C") * self.slope + self.intercept

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Values, changed or of another shape, in the type and byte order of `raw`."""
        kind = self.raw.dtype
        same = values == self.values() if values.shape == self.raw.shape else np.zeros(values.shape, bool)
        numbers = (values.astype(np.float64) - self.intercept) / self.slope
        if kind.kind == "b":
            made = numbers >= 0.5
        elif kind.kind in "iu":
            made = _integers(np.rint(np.nan_to_num(numbers)), kind)
        else:
            with np.errstate(over="ignore"):
                made = numbers.astype(kind)
        if values.shape != self.raw.shape:
            return made.astype(kind)
        return np.where(same | (np.isnan(values) & ~_known(self.raw)), self.raw, made).astype(kind)

    def real(self) -> "Stored":
        """The same for non-integer values, such as widths of intervals: in float32."""
        return replace(self, raw=np.empty(0, np.float32), slope=1.0, intercept=0.0)

    def resized(self, *size: int) -> Any:
        """The same for values on another grid."""
        return self


def _integers(whole: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Integers in float64 converted to an integer type, clipped to its range."""
    ends = np.iinfo(kind)
    made = whole.clip(float(ends.min), np.nextafter(float(ends.max), 0) if kind.itemsize == 8 else float(ends.max))
    made = made.astype(kind)
    return np.where(whole >= float(ends.max), np.array(ends.max, kind), made)


def _known(raw: np.ndarray) -> np.ndarray:
    return np.isfinite(raw) if raw.dtype.kind == "f" else np.ones(raw.shape, bool)
