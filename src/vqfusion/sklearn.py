"""Estimators for scikit-learn: restoration, imputation and codes in pipelines and searches.

Rows of `X` are pictures, sounds or times, as scikit-learn has them; every estimator passes `check_estimator`, which
asks that arguments are checked in `fit`, not before.
"""

from dataclasses import replace
from functools import cache
from math import isqrt
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from vqfusion.diffusion.operators import Denoise
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.batch import restore_batch
from vqfusion.models.restoration.gaps.filling import Filled, fill_table

__all__ = ["CodeFeatures", "Denoiser", "SeriesImputer"]


class SeriesImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fills the gaps (NaN) of a table of sensors: rows are times in order, columns channels; see `fill_table`.

    The model is fitted to the table that `transform` gets, with its gaps. The rows of `fit` come before those of
    another table where `context` is set, as in a split by time, and only their gaps are not filled in.

    Args:
        samples: Joint samples to draw in `impute`.
        coverage: Share of the true values within the intervals of `impute`.
        context: Put the rows of `fit` before those of `transform`.
        random_state: Seed.
    """

    def __init__(self, samples: Any = 0, coverage: Any = 0.9, context: Any = False, random_state: Any = 0):
        self.samples, self.coverage, self.context, self.random_state = samples, coverage, context, random_state

    def fit(self, X: Any, y: Any = None) -> "SeriesImputer":
        """Check the table `[T, C]` and keep it as context."""
        if not 0 < self.coverage < 1:
            raise UserError(f"coverage is {self.coverage}; give a share between 0 and 1, such as 0.9")
        table = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        self.table_ = table if self.context else table[:0]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The table `[T, C]` with its gaps filled in; NaN stays in channels without any value."""
        return self.impute(X).mean.T.copy()

    def impute(self, X: Any) -> Filled:
        """Distribution of the gaps of a table `[T, C]`: mean, ends of intervals and samples, with channels first."""
        check_is_fitted(self)
        table = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        before = len(self.table_)
        whole = np.concatenate([self.table_, table]).T
        made = fill_table(whole, self.samples, self.coverage, self.random_state)
        return replace(
            made,
            mean=made.mean[..., before:],
            median=made.median[..., before:],
            lower=made.lower[..., before:],
            upper=made.upper[..., before:],
            samples=made.samples[..., before:],
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class Denoiser(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Cleans noisy pictures or sounds, one in each row, with a prior of the zoo or of your own.

    Rows are brought to the range of the prior by the least and largest value in `fit`.

    Args:
        model: Name in the zoo, folder, or owner/name on the hub.
        shape: Size of each row, such as `(28, 28)`; None is a square where the prior is one of pictures and the number
            of columns is a square, else a picture of one row or a sound.
        sigma: Standard deviation of the noise in the units of `X`; None estimates it for each row.
    """

    def __init__(self, model: Any = "photo", shape: Any = None, sigma: Any = None):
        self.model, self.shape, self.sigma = model, shape, sigma

    def fit(self, X: Any, y: Any = None) -> "Denoiser":
        """Learn the range of values of `X` `[N, D]` and load the model."""
        rows = validate_data(self, X, dtype=np.float64)
        self.low_, self.high_ = float(rows.min()), float(rows.max())
        prior = _opened(self.model)
        if getattr(prior, "kind", "") != "prior":
            raise UserError(f"model {self.model!r} is no prior; choose one such as photo")
        self.size_ = _size(self.shape, rows.shape[1], prior.config.rank)
        self.prior_ = prior
        return self

    def transform(self, X: Any) -> np.ndarray:
        """The cleaned rows `[N, D]`; each row is restored by itself."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        low, high = self.prior_.config.value_range
        unit = (self.high_ - self.low_) / (high - low) or 1.0
        prior, made = AnySizePrior(self.prior_, 1), np.empty_like(rows)
        for i, row in enumerate(rows):
            y = torch.from_numpy((row - self.low_) / unit + low).float().reshape(1, 1, *self.size_)
            cleaned = restore_batch(prior, y, Denoise(None if self.sigma is None else self.sigma / unit)).mean
            made[i] = (cleaned.double().numpy().ravel() - low) * unit + self.low_
        return made


class CodeFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """The codes of a tokenizer of pictures as features: how often each occurs, or the mean of their vectors.

    Rows are pictures in any range of values, which is brought to [0, 1] by the least and largest value in `fit`.

    Args:
        model: Model in the zoo, folder or owner/name whose tokenizer of pictures is used.
        shape: Size of each row, such as `(28, 28)` or `(3, 32, 32)`; None as in `Denoiser`.
        image_size: Side in pixels to which pictures are enlarged before they are encoded.
        mean: Whether features are the mean code vector `[D]`; else the share of each code `[K]`.
    """

    def __init__(self, model: Any = "emoji", shape: Any = None, image_size: Any = 64, mean: Any = False):
        self.model, self.shape, self.image_size, self.mean = model, shape, image_size, mean

    def fit(self, X: Any, y: Any = None) -> "CodeFeatures":
        """Learn the range of values of `X` `[N, D]` and load the tokenizer."""
        rows = validate_data(self, X, dtype=np.float64)
        self.low_, self.high_ = float(rows.min()), float(rows.max())
        system = _opened(self.model)
        known = getattr(getattr(system, "tokenizers", None), "by_name", {}).values()
        pictured = [one for one in known if one.modality in MODALITIES and MODALITIES[one.modality].pictured]
        if not pictured:
            raise UserError(f"model {self.model!r} has no tokenizer of pictures; choose one such as emoji")
        self.tokenizer_ = pictured[0]
        self.size_ = _size(self.shape, rows.shape[1], 2)
        book = self.tokenizer_.codebook
        self._n_features_out = book.shape[1] if self.mean and book is not None else self.tokenizer_.codebook_size
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features `[N, K]` or `[N, D]`."""
        from vqfusion.data.transforms import fit_picture
        from vqfusion.types import Sample

        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        unit, made = self.high_ - self.low_ or 1.0, np.zeros((len(rows), self._n_features_out))
        for i, row in enumerate(rows):
            picture = torch.from_numpy((row - self.low_) / unit).float().clamp(0, 1).reshape(-1, *self.size_[-2:])
            ids = self.tokenizer_.encode(Sample("image", fit_picture(picture.expand(3, -1, -1), self.image_size))).ids
            counts = torch.bincount(ids.flatten(), minlength=self.tokenizer_.codebook_size).double()
            shares = counts / counts.sum()
            made[i] = (shares @ self.tokenizer_.codebook.double() if self.mean else shares).numpy()
        return made


@cache
def _opened(model: str) -> Any:
    """The model, opened once for all folds of a search."""
    from vqfusion.hub import load

    return load(model)


def _size(shape: tuple[int, ...] | None, columns: int, rank: int) -> tuple[int, ...]:
    """Size of one row; UserError where it does not have as many values."""
    if shape is not None:
        if int(np.prod(shape)) != columns:
            raise UserError(f"shape {tuple(shape)} has {int(np.prod(shape))} values and X has {columns} columns")
        return tuple(shape)
    if rank == 1:
        return (columns,)
    side = isqrt(columns)
    return (*[1] * (rank - 2), side, side) if side * side == columns else (*[1] * (rank - 1), columns)
