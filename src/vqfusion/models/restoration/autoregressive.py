"""Gaps of a series, filled by an autoregressive model of the series itself."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded
from torch import Tensor

ORDER = 24
ROUNDS = 5
SMALL = 1e-8  # ridge, relative to the variance, that keeps linear systems solvable
ENOUGH = 4  # windows without a gap per coefficient, from which on these alone are fitted
PROBES = 256  # largest number of artificial gaps
SHARES = np.linspace(0, 1, 21)  # candidate weights of the model against a straight line
CLEARLY = 1.05  # factor by which a larger weight must reduce the error, since the model was fitted to the same values


def fill_gaps(y: Float[Tensor, "B 1 T"], seen: Bool[Tensor, "B 1 T"]) -> Float[Tensor, "B 1 T"]:
    """Fill the gaps of series with the most probable values under an autoregressive model of each series.

    The model minimises the squared prediction errors over windows without a gap, and the gaps are filled to minimise
    its errors: Janssen, Veldhuis, Vries (1986), eq. 10 and 15. Only predictions of values inside the series count, so
    that a gap at the end is a forecast, and one at the start a forecast of the reversed series. Where gaps leave too
    few windows, both steps alternate, starting from linear interpolation. The result is a weighted mean of the model
    and a straight line (at the ends: the last value); the weight is fitted for each gap length by artificial gaps.
    Series that are too short for a model keep the straight lines.

    Args:
        y: Series; values in gaps are ignored.
        seen: True at known values.

    Returns:
        `y` with the gaps filled; NaN where a series has no known value.
    """
    rows = [_filled(values, known) for values, known in zip(y[:, 0].numpy(), seen[:, 0].numpy(), strict=True)]
    return torch.from_numpy(np.stack(rows)).to(y)[:, None]


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    if not known.any():
        return np.full(len(values), np.nan)
    values = values.astype(np.float64)
    places = np.arange(len(values))
    x = np.where(known, values, np.interp(places, places[known], values[known]))
    missing = np.flatnonzero(~known)
    order = min(ORDER, int(known.sum()) // 8)
    unit = np.abs(x[known]).max() or 1.0  # squares of large values stay finite
    mean, deviation = float((x[known] / unit).mean()), float((x[known] / unit).std())
    if order < 1 or not len(missing) or deviation < 1e-14:
        return x
    z = (x / unit - mean) / deviation
    lines = z.copy()
    usable = np.lib.stride_tricks.sliding_window_view(known, order + 1).all(axis=1)
    usable = usable if usable.sum() >= ENOUGH * order else np.ones_like(usable)
    early, late = _sides(missing, order)
    once = bool(usable.all()) is False and not (len(early) and len(late))
    for _ in range(1 if once else ROUNDS):
        a = _coefficients(z, order, usable)
        _solve(z, late, a)
        _solve(z[::-1], len(z) - 1 - early[::-1], a)
    shares: dict[tuple[int, int], float] = {}
    for gap in _runs(missing):
        side = 1 if gap[-1] == len(z) - 1 else -1 if gap[0] == 0 else 0
        key = (len(gap), side)
        if key not in shares:
            shares[key] = _share(lines[:: side or 1], known[:: side or 1], a, len(gap), at_end=side != 0)
        z[gap] = shares[key] * z[gap] + (1 - shares[key]) * lines[gap]
    return np.where(known, values, (z * deviation + mean) * unit)


def _sides(missing: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaps that begin within `order` values of the start, and all others."""
    early = sum(len(gap) for gap in _runs(missing) if gap[0] < order)
    return missing[:early], missing[early:]


def _runs(missing: np.ndarray) -> list[np.ndarray]:
    """Positions of each gap."""
    return np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)


def _coefficients(z: np.ndarray, order: int, usable: np.ndarray) -> np.ndarray:
    """Coefficients 1, a_1, ..., a_p with the least sum of squared forward and backward prediction errors over windows.

    Roots outside the unit circle are scaled back onto it, so that a forecast cannot diverge.
    """
    windows = np.lib.stride_tricks.sliding_window_view(z, order + 1)[usable]
    rows = np.concatenate([windows[:, ::-1], windows])
    power = rows[:, 1:].T @ rows[:, 1:]
    ridge = SMALL * np.trace(power) / order * np.eye(order)
    a = np.concatenate([[1.0], -np.linalg.solve(power + ridge, rows[:, 1:].T @ rows[:, 0])])
    largest = max(1.0, float(np.abs(np.roots(a)).max(initial=0.0)))
    return a * largest ** -np.arange(order + 1)


def _solve(z: np.ndarray, missing: np.ndarray, a: np.ndarray) -> None:
    """Set `z` at `missing` (positions >= p) to minimise the sum of e_t^2 over p <= t < T.

    e_t = sum_k a_k z_(t-k) is linear in the missing values. The matrix of the normal equations has sum_k a_k a_(k+l)
    for two values at distance l, over the errors inside the series, and is therefore banded.
    """
    order, count = len(a) - 1, len(missing)
    if not count:
        return
    z[missing] = 0.0
    errors = np.convolve(z, a)[: len(z)]
    errors[:order] = 0.0
    right = -np.correlate(np.append(errors, np.zeros(order)), a, "valid")[missing]
    sums = np.zeros((order + 2, order + 1))  # the last row stays 0: values that no error shares
    for lag in range(order + 1):
        sums[lag, : order + 1 - lag] = np.cumsum(a[lag:] * a[: order + 1 - lag])
    banded = np.zeros((min(order + 1, count), count))
    for below in range(len(banded)):
        first, second = missing[: count - below], missing[below:]
        lags = np.minimum(second - first, order + 1)
        inside = np.minimum(order - lags, len(z) - 1 - second).clip(min=0)
        banded[below, : count - below] = sums[lags, inside]
    banded[0] += SMALL * banded[0].max()
    z[missing] = solveh_banded(banded, right, lower=True)


def _share(z: np.ndarray, known: np.ndarray, a: np.ndarray, length: int, at_end: bool) -> float:
    """Smallest weight of the model with about the least error in artificial gaps of this length.

    The error is the sum of the mean absolute and the root mean squared error, each relative to that of straight lines.
    """
    order = len(a) - 1
    after = 0 if at_end else order
    size = order + length + after
    if size > len(z):
        return 1.0
    begins = np.flatnonzero(np.lib.stride_tricks.sliding_window_view(known, size).all(axis=1))
    if len(begins) == 0:
        return 1.0
    begins = begins[:: -(-len(begins) // PROBES)]
    probes = np.lib.stride_tricks.sliding_window_view(z, size)[begins]
    gap = np.arange(order, order + length)
    context = np.delete(np.arange(size), gap)
    answers = np.zeros((len(context), length))  # of the model to each known value alone: it is linear
    for answer, place in zip(answers, context, strict=True):
        unit = np.zeros(size)
        unit[place] = 1.0
        _solve(unit, gap, a)
        answer[:] = unit[gap]
    share = np.zeros(length) if at_end else np.arange(1, length + 1) / (length + 1)
    lines = (1 - share) * probes[:, order - 1, None] + share * probes[:, order + length if after else order - 1, None]
    model = probes[:, context] @ answers
    errors = SHARES[:, None, None] * (model - lines) + (lines - probes[:, gap])
    absolute, squared = np.abs(errors).mean(axis=(1, 2)), np.square(errors).mean(axis=(1, 2)) ** 0.5
    score = absolute / (absolute[0] or 1.0) + squared / (squared[0] or 1.0)
    return float(SHARES[np.argmax(score <= CLEARLY * score.min())])
