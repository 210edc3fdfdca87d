"""Gaps of air quality tables: errors, CRPS and coverage beside straight lines, a Kalman smoother and nearest rows.

    python benchmarks/series_imputation.py [--station 10] [--rows 35064] [--save]

10 % of the known values of each sensor are hidden in blocks of 1, 6, 24 and 72 hours (equally often). Numbers are in
deviations of each sensor, over hidden values. The Kalman smoother needs statsmodels: an autoregression of order 24 of
each sensor alone, fitted by least squares to the interpolated series.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.impute import KNNImputer

from vqfusion.data.standard import beijing_air
from vqfusion.models.restoration.gaps import fill_table

BLOCKS, SHARE, DRAWS, COVERAGE = (1, 6, 24, 72), 0.1, 100, 0.9
NORMAL_90 = 1.6448536
RESULTS = Path(__file__).parent / "results" / "series_imputation.json"


def hide(table: np.ndarray, seed: int) -> np.ndarray:
    """True at known values `[C, T]` to hide."""
    rng, known = np.random.default_rng(seed), np.isfinite(table)
    hidden = np.zeros_like(known)
    for row in hidden:
        while row.sum() < SHARE * len(row):
            size = int(rng.choice(BLOCKS))
            start = int(rng.integers(0, len(row) - size + 1))
            row[start : start + size] = True
    return hidden & known


def crps(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score of samples `[K, N]` (Gneiting, Raftery, 2007, eq. 20)."""
    ordered, count = np.sort(samples, axis=0), len(samples)
    weights = (2 * np.arange(1, count + 1) - count - 1) / count**2
    return np.abs(samples - truth).mean(0) - (weights[:, None] * ordered).sum(0)


def linear(table: np.ndarray) -> np.ndarray:
    places = np.arange(table.shape[1])
    return np.stack([np.interp(places, places[np.isfinite(row)], row[np.isfinite(row)]) for row in table])


def kalman(table: np.ndarray, order: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations `[C, T]` of each channel alone."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    plain, means, deviations = linear(table), [], []
    for row, filled in zip(table, plain, strict=True):
        mean, spread = filled.mean(), filled.std()
        z = (filled - mean) / spread
        lags = np.lib.stride_tricks.sliding_window_view(z, order + 1)[:, ::-1]
        a, *_ = np.linalg.lstsq(lags[:, 1:], lags[:, 0], rcond=None)
        noise = float(np.square(lags[:, 0] - lags[:, 1:] @ a).mean())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = SARIMAX((row - mean) / spread, order=(order, 0, 0), enforce_stationarity=False)
            smoothed = model.smooth(np.append(a, noise)).smoother_results
        means.append(smoothed.smoothed_state[0] * spread + mean)
        deviations.append(np.sqrt(smoothed.smoothed_state_cov[0, 0].clip(0)) * spread)
    return np.stack(means), np.stack(deviations)


def scores(mean: np.ndarray, truth: np.ndarray, unit: np.ndarray, samples: np.ndarray | None = None) -> dict:
    """MAE, RMSE, and where there are samples CRPS and coverage of their quantiles, of hidden values `[N]`."""
    error = (mean - truth) / unit
    found = {"MAE": float(np.abs(error).mean()), "RMSE": float(np.square(error).mean() ** 0.5)}
    found["CRPS"] = found["MAE"] if samples is None else float((crps(samples, truth) / unit).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--station", type=int, default=10)
    parser.add_argument("--rows", type=int, default=35064, help="the last so many hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prior", help="folder or name of a prior of series")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    whole = beijing_air()[options.station].T.astype(np.float64)[:, -options.rows :]
    hidden = hide(whole, options.seed)
    table = np.where(hidden, np.nan, whole)
    spread = np.nanstd(table, axis=1)
    truth, unit = whole[hidden], np.broadcast_to(spread[:, None], whole.shape)[hidden]
    rows: dict[str, dict] = {}

    def timed(name: str, start: float, begun: float, found: dict) -> None:
        rows[name] = found | {"processor_s": round(time.process_time() - start, 1), "wall_s": time.time() - begun}
        print(name, json.dumps(rows[name]), flush=True)

    start, begun = time.process_time(), time.time()
    timed("linear", start, begun, scores(linear(table)[hidden], truth, unit))
    start, begun = time.process_time(), time.time()
    learned = None
    if options.prior:
        from vqfusion import load
        from vqfusion.models.restoration.gaps.series import learned_by

        learned = learned_by(load(options.prior))
    made = fill_table(table, DRAWS, COVERAGE, learned=learned)
    inside = ((made.lower <= whole) & (whole <= made.upper))[hidden]
    found = scores(made.mean[hidden], truth, unit, made.samples[:, hidden])
    found |= {"MAE_of_median": float((np.abs(made.median - whole)[hidden] / unit).mean())}
    found |= {"coverage_90": float(inside.mean()), "width": float(((made.upper - made.lower)[hidden] / unit).mean())}
    timed("vqfusion" + (" with its prior" if learned else ""), start, begun, found)
    try:
        start, begun = time.process_time(), time.time()
        mean, deviation = kalman(table)
        z = (truth - mean[hidden]) / deviation[hidden]
        draws = mean[hidden] + deviation[hidden] * np.random.default_rng(0).standard_normal((DRAWS, len(truth)))
        found = scores(mean[hidden], truth, unit, draws) | {"coverage_90": float((np.abs(z) <= NORMAL_90).mean())}
        timed("Kalman smoother, AR 24 of each sensor", start, begun, found)
    except ImportError:
        print("Kalman smoother: left out, statsmodels is not installed")
    start, begun = time.process_time(), time.time()
    scaled = (table - np.nanmean(table, axis=1, keepdims=True)) / spread[:, None]
    near = KNNImputer(n_neighbors=10, weights="distance").fit_transform(scaled.T).T
    near = near * spread[:, None] + np.nanmean(table, axis=1, keepdims=True)
    timed("10 nearest rows", start, begun, scores(near[hidden], truth, unit))
    report = {"station": options.station, "rows": whole.shape[1], "hidden": int(hidden.sum()), "methods": rows}
    print(json.dumps(report))
    if options.save:
        RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
