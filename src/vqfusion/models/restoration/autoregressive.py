"""Gaps of a series, filled in by what the series itself has shown: an autoregressive model."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.linalg import solveh_banded
from torch import Tensor

ORDER = 24
ROUNDS = 5
SMALL = 1e-8  # of the variance, so that systems stay solvable
ENOUGH = 4  # stretches without a gap for each coefficient, to learn from these alone
PROBES = 256  # places at most where a gap is tried
SHARES = np.linspace(0, 1, 21)  # of the model in what fills a gap; the rest is a straight line
CLEARLY = 1.05  # a share must be better by this to be taken: the model was fitted to the values it is tried on


def fill_gaps(y: Float[Tensor, "B 1 T"], seen: Bool[Tensor, "B 1 T"]) -> Float[Tensor, "B 1 T"]:
    """`y` where it is seen, elsewhere the values that an autoregressive model of the series finds most likely.

    The model has the least squared errors of prediction over the stretches without a gap; the gaps are filled to make
    its errors least: Janssen, Veldhuis, Vries (1986), eq. 10 and 15. Only predictions of values inside the series
    count, so that a gap at the end is a forecast, and one at the start a forecast of the reversed series. Where gaps
    leave too few stretches, both steps take turns and start from straight lines. How far the model is to be preferred
    to a straight line (at the ends: to the last value) is measured for each length of gap where nothing is missing.
    Series with too little to learn from keep the lines. NaN where nothing is seen.
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
    """The gaps that begin within `order` values of the start, and all others."""
    early = sum(len(gap) for gap in _runs(missing) if gap[0] < order)
    return missing[:early], missing[early:]


def _runs(missing: np.ndarray) -> list[np.ndarray]:
    """The places of each gap."""
    return np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)


def _coefficients(z: np.ndarray, order: int, usable: np.ndarray) -> np.ndarray:
    """1, a_1, ..., a_p with the least sum of squared prediction errors, forwards and backwards, over usable windows.

    Roots outside the unit circle are drawn in onto it, so that a forecast cannot grow without bound.
    """
    windows = np.lib.stride_tricks.sliding_window_view(z, order + 1)[usable]
    rows = np.concatenate([windows[:, ::-1], windows])
    power = rows[:, 1:].T @ rows[:, 1:]
    ridge = SMALL * np.trace(power) / order * np.eye(order)
    a = np.concatenate([[1.0], -np.linalg.solve(power + ridge, rows[:, 1:].T @ rows[:, 0])])
    largest = max(1.0, float(np.abs(np.roots(a)).max(initial=0.0)))
    return a * largest ** -np.arange(order + 1)


def _solve(z: np.ndarray, missing: np.ndarray, a: np.ndarray) -> None:
    """Set `z` at `missing`, all of them at p or later, so that the sum of e_t^2 over p <= t < T is least.

    e_t = sum_k a_k z_(t-k) is linear in what is missing. The normal equations have sum_k a_k a_(k+l) for two values
    that lie l apart, over the errors inside the series, and so are banded.
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
    """The least share of the model that is as near as any in gaps of this length, tried out where nothing is missing.

    The errors that count are the mean absolute and the root mean squared one, each against that of straight lines.
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
