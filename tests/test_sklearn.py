"""The estimators keep the contract of scikit-learn, and do in a pipeline what they do alone."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from vqfusion import UserError
from vqfusion.sklearn import CodeFeatures, Denoiser, SeriesImputer


def failures(estimator) -> list[str]:
    """Checks that do not pass, with their messages; skipped ones need other packages."""
    found = check_estimator(estimator, on_fail=None, on_skip=None)
    return [f"{one['check_name']}: {one['exception']}" for one in found if one["status"] in ("failed", "xfail")]


def test_the_imputer_is_an_estimator():
    assert not failures(SeriesImputer())


def test_the_denoiser_is_an_estimator(prior):
    assert not failures(Denoiser(model=prior, sigma=0.1))


def test_the_features_are_an_estimator():
    assert not failures(CodeFeatures(image_size=16))


def waves(gap: bool = True) -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(120)[:, None]
    table = np.sin(t / np.array([[5.0, 7.0, 9.0]])) + 0.01 * rng.normal(size=(120, 3))
    if gap:
        table[40:48, 0] = np.nan
        table[70:75, 1:] = np.nan
    return table


def test_the_imputer_fills_gaps_in_a_pipeline_and_gives_intervals():
    table = waves()
    made = SeriesImputer().fit_transform(table)
    known = ~np.isnan(table)
    assert (made == table)[known].all()
    assert np.abs(made - waves(gap=False))[~known].max() < 0.3
    found = SeriesImputer(samples=3, coverage=0.8).fit(table).impute(table)
    assert found.samples.shape == (3, 3, 120) and (found.lower <= found.upper).all()
    after = SeriesImputer(context=True).fit(table[:60]).transform(table[60:])
    assert after.shape == (60, 3) and np.isfinite(after).all()
    scaled = make_pipeline(StandardScaler(), SeriesImputer()).fit_transform(table)
    assert scaled.shape == table.shape and np.isfinite(scaled).all()
    with pytest.raises(UserError, match="coverage"):
        SeriesImputer(coverage=1.5).fit(table)


def test_a_search_over_the_imputer():
    y = waves(gap=False).sum(axis=1)
    search = GridSearchCV(make_pipeline(SeriesImputer(), Ridge()), {"seriesimputer__coverage": [0.8, 0.9]}, cv=2)
    assert search.fit(waves(), y).best_score_ > 0.5


def test_the_denoiser_restores_rows_in_their_units(prior):
    rows = 100 + 50 * np.random.default_rng(0).random((3, 64))
    made = Denoiser(model=prior, sigma=5.0).fit_transform(rows)
    assert made.shape == rows.shape and np.abs(made - rows).max() < 60
    np.testing.assert_allclose(Denoiser(model=prior, shape=(8, 8), sigma=5.0).fit_transform(rows), made)
    with pytest.raises(UserError, match="shape"):
        Denoiser(model=prior, shape=(3, 3)).fit(rows)


def test_features_serve_a_classifier():
    rng = np.random.default_rng(0)
    rows = rng.random((20, 64)) * 0.1
    rows[10:] += np.linspace(0, 1, 64)
    model = make_pipeline(CodeFeatures(image_size=16), LogisticRegression()).fit(rows, np.repeat([0, 1], 10))
    assert model.score(rows, np.repeat([0, 1], 10)) > 0.9
    assert CodeFeatures(image_size=16, mean=True).fit_transform(rows).shape[1] < 100
