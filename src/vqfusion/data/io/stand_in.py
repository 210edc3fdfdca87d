"""Numbers that stand for missing values in many files, such as -9999."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

USUAL = (-99.0, -999.0, -9999.0, -99999.0, -32768.0, 999.0, 9999.0, 99999.0, 1e20, -1e20)
FAR = 4  # ranges of the other values between them and the number


def stand_ins(values: Float[np.ndarray, "C T"], names: Sequence[str] | None) -> tuple[str, ...]:
    """A line for each channel with such a number, more than once and far from all other values; nothing is changed."""
    lines = []
    for i, channel in enumerate(values):
        for number in USUAL:
            held = channel == number
            count, rest = int(held.sum()), channel[~held & np.isfinite(channel)]
            if count < 2 or rest.size < 2:
                continue
            low, high = float(rest.min()), float(rest.max())
            if max(low - number, number - high) > FAR * (high - low) and high > low:
                where = repr(names[i]) if names else f"channel {i + 1}"
                lines.append(
                    f"{where} holds {number:g} {count} times, far from its other values, and it is taken as a value; "
                    "where it stands for missing ones, empty these cells (or write nan) and use `vqfusion inpaint`"
                )
    return tuple(lines)
