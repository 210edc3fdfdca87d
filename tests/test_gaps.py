"""Gaps of tables: the exact conditional of a vector autoregression, and what `fill_table` promises of any table."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vqfusion.data.io import read
from vqfusion.models.restoration.gaps.autoregression_fit import fit_autoregression
from vqfusion.models.restoration.gaps.filling import MOST_TOGETHER, fill_table
from vqfusion.models.restoration.gaps.rehearsal import NORMAL, quantile_of
from vqfusion.models.restoration.gaps.runs import END, INSIDE, START, gap_groups
from vqfusion.models.restoration.gaps.scales import Scale
from vqfusion.models.restoration.gaps.vector_autoregression import VectorAutoregression


def model(seed: int = 0, order: int = 2, channels: int = 3) -> VectorAutoregression:
    rng = np.random.default_rng(seed)
    return VectorAutoregression(
        rng.normal(0, 0.25, (order, channels, channels)), np.atleast_2d(np.cov(rng.normal(size=(channels, 50))))
    )


def simulated(made: VectorAutoregression, length: int, seed: int = 0) -> np.ndarray:
    """A series `[T, C]` of the model, after it has forgotten its start."""
    rng = np.random.default_rng(seed)
    a = made.companion[: len(made.noise)].reshape(len(made.noise), made.order, -1).transpose(1, 0, 2)
    z = np.zeros((length + 200, len(made.noise)))
    noise = rng.multivariate_normal(np.zeros(len(made.noise)), made.noise, len(z))
    for t in range(made.order, len(z)):
        z[t] = noise[t] + sum(a[k] @ z[t - 1 - k] for k in range(made.order))
    return z[200:]


def dense(made: VectorAutoregression, length: int) -> np.ndarray:
    """Covariance of a whole series `[T C, T C]`, from the recursion of its autocovariances."""
    p, channels = made.order, len(made.noise)
    a = made.companion[:channels].reshape(channels, p, channels).transpose(1, 0, 2)
    lags = {0: made.stationary[:channels, :channels]}
    lags |= {k: made.stationary.reshape(p, channels, p, channels)[k, :, 0] for k in range(1, p)}
    for lag in range(p, length):
        lags[lag] = sum(a[k] @ lags[lag - k - 1] for k in range(p))
    rows = [[lags[t - s] if t >= s else lags[s - t].T for s in range(length)] for t in range(length)]
    return np.block(rows)


LENGTH = 20
ROWS = np.arange(LENGTH)[:, None] * np.ones((1, 3))
GAPS = {
    "scattered": np.random.default_rng(1).random((LENGTH, 3)) > 0.3,
    "start": ROWS > 4,
    "end": ROWS < 15,
    "one channel": np.stack([ROWS[:, 0] > 9, ROWS[:, 0] < 99, ROWS[:, 0] < 99], axis=1),
}


@pytest.mark.parametrize("seen", GAPS.values(), ids=GAPS.keys())
def test_the_conditional_is_that_of_the_dense_gaussian(seen):
    made = model()
    z, whole, gone = simulated(made, LENGTH), dense(made, LENGTH), ~seen.ravel()
    gain = np.linalg.solve(whole[np.ix_(~gone, ~gone)], whole[np.ix_(~gone, gone)]).T
    covariance = whole[np.ix_(gone, gone)] - gain @ whole[np.ix_(~gone, gone)]
    found = made.given(np.where(seen, z, np.nan), seen)
    np.testing.assert_allclose(found.mean, gain @ z.ravel()[~gone], atol=1e-6)
    np.testing.assert_allclose(found.deviation, np.sqrt(np.diag(covariance)), atol=1e-6)
    drawn = found.draw(20_000, np.random.default_rng(0))
    assert np.abs(np.cov(drawn.T) - covariance).max() < 0.05 * covariance.max()


def test_the_fit_finds_the_model_behind_gaps():
    made = model(3, order=1, channels=2)
    z = simulated(made, 3000)
    seen = np.random.default_rng(0).random(z.shape) > 0.2
    found = fit_autoregression(np.where(seen, z, np.nan), seen, np.random.default_rng(0))
    first = found.coefficients.copy()
    first[0] -= made.coefficients[0]
    assert np.abs(first).max() < 0.12 and np.abs(found.noise - made.noise).max() < 0.1 * made.noise.max()


def test_scales_there_and_back():
    values = np.array([0.0, 0.0, 0.0, 1.0, 5.0, 100.0])
    for scale in (Scale.standard(values), Scale.ranks(values)):
        np.testing.assert_allclose(scale.back(scale.forward(values)), values, atol=1e-12)
    ranks = Scale.ranks(values)
    assert ranks.back(np.array([-9.0, 9.0])).tolist() == [0.0, 100.0] and ranks.back(np.array([-0.3])) == 0.0
    assert np.isnan(ranks.forward(np.array([np.nan]))).all()


def test_groups_name_length_and_side():
    missing = np.array([1, 0, 1, 1, 1, 0, 0, 1], bool)[:, None]
    assert gap_groups(missing)[:, 0].tolist() == [START, -1, *[3 + INSIDE] * 3, -1, -1, END]
    far = quantile_of(NORMAL * 2, np.array([-5.0, 0.0, 1.0, 5.0]))
    np.testing.assert_allclose(far, [-10, 0, 2, 10], atol=0.01)


def table(length: int = 250, channels: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A simulated table `[C, T]`, and the same with gaps."""
    whole = 50 + 10 * simulated(model(5, channels=channels), length, seed).T
    holed = whole.copy()
    rng = np.random.default_rng(seed)
    for row in holed:
        for start in rng.integers(5, length - 25, 4):
            row[start : start + rng.integers(1, 20)] = np.nan
    return whole, holed


@pytest.fixture(scope="module")
def filled():
    whole, holed = table()
    return whole, holed, fill_table(holed, samples=10)


def test_known_values_stay_and_quantiles_are_ordered(filled):
    _, holed, made = filled
    known = ~np.isnan(holed)
    for one in (made.mean, made.median, made.lower, made.upper, *made.samples):
        assert (one == holed)[known].all() and np.isfinite(one).all()
    assert (made.lower <= made.median).all() and (made.median <= made.upper).all()
    assert (made.lower < made.upper)[~known].all() and made.samples.shape == (10, *holed.shape)
    assert (made.samples.std(0)[~known] > 0).all()


def test_the_same_seed_gives_the_same(filled):
    again = fill_table(filled[1], samples=10)
    assert np.array_equal(again.mean, filled[2].mean) and not np.array_equal(again.samples[0], again.samples[1])


def test_the_order_of_channels_does_not_matter(filled):
    order = [2, 0, 1]
    again = fill_table(filled[1][order], samples=10)
    np.testing.assert_allclose(again.mean, filled[2].mean[order], rtol=1e-9)
    np.testing.assert_allclose(again.samples, filled[2].samples[:, order], rtol=1e-9)


def test_units_of_channels_do_not_matter(filled):
    scale, shift = np.array([[2.0], [1e6], [1e-3]]), np.array([[0.0], [-5e5], [7.0]])
    again = fill_table(filled[1] * scale + shift, samples=10)
    for one, other in (
        (again.mean, filled[2].mean),
        (again.upper, filled[2].upper),
        (again.samples, filled[2].samples),
    ):
        np.testing.assert_allclose((one - shift) / scale, other, rtol=1e-3)


def test_coverage_holds_on_simulated_tables():
    inside, nearer = [], []
    for seed in range(4):
        whole, holed = table(300, 2, seed)
        made = fill_table(holed, seed=seed)
        gone = np.isnan(holed)
        inside.append(((made.lower <= whole) & (whole <= made.upper))[gone])
        places = np.arange(300)
        lines = np.stack([np.interp(places, places[~np.isnan(row)], row[~np.isnan(row)]) for row in holed])
        nearer.append(np.abs(made.mean - whole)[gone].mean() / np.abs(lines - whole)[gone].mean())
    assert 0.84 < np.concatenate(inside).mean() < 0.96
    assert np.mean(nearer) < 0.9


def test_skewed_channels_stay_within_what_was_seen():
    rain = np.maximum(0, np.exp(simulated(model(1, channels=1), 500)) - 2).T
    rain[0, 100:120] = np.nan
    made = fill_table(rain, samples=20)
    assert made.lower.min() >= 0 and made.samples.min() >= 0 and made.samples.max() <= np.nanmax(rain)


def test_what_was_never_negative_stays_so():
    level = np.abs(simulated(model(1, channels=1), 120)).T
    level[0, 50:62] = np.nan
    made = fill_table(level, samples=5)
    assert made.lower.min() >= 0 and made.samples.min() >= 0


def test_odd_tables():
    nan = np.nan
    made = fill_table(np.array([[1.0, nan], [nan, 3.0]]), samples=2)
    assert made.mean.tolist() == [[1, 1], [3, 3]]
    rows = np.vstack([np.full(40, 4.0), np.full(40, nan), np.sin(np.arange(40) / 3), np.sin(np.arange(40) / 3)])
    rows[0, 3] = rows[2, 5:9] = nan
    made = fill_table(rows, samples=3)
    assert (made.mean[0] == 4).all() and np.isnan(made.mean[1]).all() and (made.samples[:, 0] == 4).all()
    np.testing.assert_allclose(made.mean[2], rows[3], atol=0.05)
    short = fill_table(np.array([[1.0, nan, 3.0, 2.0]]))
    assert short.mean[0, 1] == pytest.approx(2, abs=0.8) and "too little" in short.warnings[0]
    many = np.random.default_rng(0).normal(size=(MOST_TOGETHER + 3, 60))
    many[:, 20] = nan
    assert np.isfinite(fill_table(many).mean).all()


def test_the_command_writes_what_was_filled_in_and_keeps_the_rest(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, holed = table(120, 2)
    rows = [
        f"2024-01-0{1 + i // 24} {i % 24:02d}:00,{holed[0, i]:.2f},x,{holed[1, i]:.3f}".replace("nan", "")
        for i in range(120)
    ]
    Path("a.csv").write_text("time,one,note,two\n" + "\n".join(rows) + "\n")
    code, out, err = cli("inpaint", "a.csv", "--samples", "7", "--interval", "0.8", "-o", "b.csv", "--json")
    item = json.loads(out)["items"][0]
    assert code == 0 and item["filled"] == np.isnan(holed).sum() and item["samples"] == 7 and item["coverage"] == 0.8
    lines = Path("b-gaps.csv").read_text().splitlines()
    assert lines[0] == "time,channel,mean,lower,upper," + ",".join(f"sample_{k}" for k in range(1, 8))
    assert len(lines) == 1 + item["filled"] and lines[1].startswith("2024-01-0")
    for before, after in zip(
        Path("a.csv").read_text().splitlines(), Path("b.csv").read_text().splitlines(), strict=True
    ):
        for cell, made in zip(before.split(","), after.split(","), strict=True):
            assert cell in ("", made)
    lower, upper = read("b-lower.csv").data, read("b-upper.csv").data
    assert bool((lower <= upper).all()) and torch.equal(lower == upper, ~torch.from_numpy(np.isnan(holed)))
    assert cli("inpaint", "a.csv", "--mode", "sample", "--samples", "2", "-o", "c.csv")[1] == "c-1.csv\nc-2.csv\n"
    code, _, err = cli("inpaint", "a.csv", "--samples", "2")
    assert code == 2 and "--mode mean has one result" in err
