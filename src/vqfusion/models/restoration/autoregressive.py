"""Gaps of a series, filled in by what the series itself has shown: an autoregressive model."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

ORDER = 24
ROUNDS = 5
SMALL = 1e-8  # of the variance, so that systems stay solvable
AT_ONCE = 2000  # missing values that are solved for together


def fill_gaps(y: Float[Tensor, "B 1 T"], seen: Bool[Tensor, "B 1 T"]) -> Float[Tensor, "B 1 T"]:
    """`y` where it is seen, elsewhere the values that an autoregressive model of the series finds most likely.

    In turns the model is fitted to the filled series and the gaps are filled to make its errors of prediction least:
    Janssen, Veldhuis, Vries (1986), eq. 10 and 15. It starts from straight lines. Series with too little to learn
    from keep these.
    """
    rows = [_filled(values, known) for values, known in zip(y[:, 0].numpy(), seen[:, 0].numpy(), strict=True)]
    return torch.from_numpy(np.stack(rows)).to(y)[:, None]


def _filled(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    places = np.arange(len(values))
    x = np.where(known, values, np.interp(places, places[known], values[known])).astype(np.float64)
    missing = np.flatnonzero(~known)
    order = min(ORDER, int(known.sum()) // 8)
    if order < 1 or not 0 < len(missing) <= AT_ONCE or x.var() == 0:
        return x
    mean = x[known].mean()
    x = x - mean
    for _ in range(ROUNDS):
        a = _coefficients(x, order)
        # e_t = sum_k a_k x_(t-k): quadratic in x, with the matrix of correlations b_l = sum_k a_k a_(k+l)
        b = np.correlate(a, a, "full")[order:]
        lags = np.abs(missing[:, None] - missing[None])
        matrix = np.where(lags <= order, b[np.minimum(lags, order)], 0.0)
        rest = np.where(known, x, 0.0)
        right = -np.convolve(rest, np.concatenate([b[:0:-1], b]), "same")[missing]
        x[missing] = np.linalg.solve(matrix + SMALL * b[0] * np.eye(len(missing)), right)
    return x + mean


def _coefficients(x: np.ndarray, order: int) -> np.ndarray:
    """1, a_1, ..., a_p with the least sum of squared prediction errors, forwards and backwards."""
    windows = np.lib.stride_tricks.sliding_window_view(x, order + 1)
    rows = np.concatenate([windows[:, ::-1], windows])
    power = rows[:, 1:].T @ rows[:, 1:]
    ridge = SMALL * np.trace(power) / order * np.eye(order)
    return np.concatenate([[1.0], -np.linalg.solve(power + ridge, rows[:, 1:].T @ rows[:, 0])])
