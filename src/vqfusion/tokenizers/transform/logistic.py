"""Tables of a discretised logistic distribution in integers, equal on every machine."""

from decimal import Context, Decimal
from functools import cache

import numpy as np
from jaxtyping import Int

PER_UNIT = 8  # scales for each unit of the natural logarithm
LEAST, SCALES = -28, 63  # scale i is exp((i + LEAST) / PER_UNIT) quantization steps
FRACTIONS = 8  # positions of the mean between two integers
WINDOW = 64  # values this far from the mean are escapes: the rest of their distance follows as plain bits
BITS = 20
TOTAL = 2**BITS + 2 * WINDOW + 1  # sum of the weights of all values; each is at least 1
DIGITS = Context(prec=40)


@cache
def intervals() -> Int[np.ndarray, "S F V"]:
    """Start of the interval of value `v - WINDOW` in `[0, TOTAL)`, by scale and fraction of the mean; V is one more.

    The fraction f stands for a mean of `(f - FRACTIONS / 2) / FRACTIONS`. Intervals end at F((8 v + 4 - f) / (8 s))
    with the logistic function F, in fixed point.
    """
    half = FRACTIONS // 2
    reach = FRACTIONS * WINDOW + FRACTIONS
    out = np.zeros((SCALES, FRACTIONS, 2 * WINDOW + 2), np.int64)
    values = np.arange(-WINDOW, WINDOW)
    for scale, row in enumerate(out):
        below = _logistic(scale, reach)
        for fraction in range(FRACTIONS):
            ends = FRACTIONS * values + half - (fraction - half)
            row[fraction, 1:-1] = np.where(ends < 0, below[abs(ends)], 2**BITS - below[abs(ends)])
            row[fraction, 1:-1] += np.arange(1, 2 * WINDOW + 1)
            row[fraction, -1] = TOTAL
    return out


def _logistic(scale: int, reach: int) -> Int[np.ndarray, " n"]:
    """2^BITS F(-n / (8 s)) for n from 0 to `reach`."""
    width = DIGITS.exp(DIGITS.divide(Decimal(scale + LEAST), Decimal(PER_UNIT)))
    factor = DIGITS.exp(DIGITS.divide(Decimal(-1), DIGITS.multiply(Decimal(FRACTIONS), width)))
    step, power, out = int(factor * 2**62), 2**62, []
    for _ in range(reach + 1):
        out.append((power << BITS) // (2**62 + power))
        power = power * step >> 62
    return np.array(out, np.int64)


@cache
def rows() -> list[list[int]]:
    """The intervals as lists, row `scale * FRACTIONS + fraction`, for the decoder's search."""
    return [row.tolist() for row in intervals().reshape(SCALES * FRACTIONS, -1)]


@cache
def central_cost() -> Int[np.ndarray, " R"]:
    """Cost of the value next to the mean in 1/4096 bit, by row as in `rows`."""
    table = intervals().reshape(SCALES * FRACTIONS, -1)
    size = table[:, WINDOW + 1] - table[:, WINDOW]
    unit = DIGITS.divide(DIGITS.ln(Decimal(2)), Decimal(4096))
    return np.array([int(DIGITS.divide(DIGITS.ln(Decimal(TOTAL) / Decimal(n)), unit)) for n in size.tolist()])
