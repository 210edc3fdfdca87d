"""Intervals of whole statistics of a restored signal, such as the mean of a region or the difference of two."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.models.restoration.intervals import Calibration

Statistic = Callable[[Tensor], Tensor]
"""A number for each of a batch of signals: `[N, C, *size] -> [N]`."""


def mean_of(region: Bool[Tensor, "*size"]) -> Statistic:
    """Mean over a region of interest, True inside, of all channels."""
    _check(region)
    return lambda x: x[..., region].flatten(1).mean(dim=1)


def difference_of(one: Bool[Tensor, "*size"], other: Bool[Tensor, "*size"]) -> Statistic:
    """Mean over one region minus the mean over another."""
    first, second = mean_of(one), mean_of(other)
    return lambda x: first(x) - second(x)


def statistic_interval(
    samples: Float[Tensor, "B K C ..."],
    statistic: Statistic,
    coverage: float = 0.9,
    calibration: Calibration | None = None,
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
    """Ends between which a statistic of the true signal lies, from samples of the posterior.

    The errors of neighbouring elements go together, so that the interval of a mean does not follow from those of the
    elements; samples have what goes together. Quantiles of few samples of few steps are too narrow: `calibration`
    scales them about the mean of the samples.

    Args:
        samples: Samples of each signal, `Restored.samples` of a batch.
        statistic: The statistic.
        coverage: Fraction of the true values to contain.
        calibration: What `calibrate_statistic` gave for this statistic and coverage.

    Returns:
        Lower and upper ends.

    Raises:
        UserError: There are fewer than two samples, or the calibration is for another coverage.
    """
    if calibration is not None and calibration.coverage != coverage:
        raise UserError(f"the calibration is for a coverage of {calibration.coverage}, not {coverage}")
    lower, upper, centre = _quantiles(samples, statistic, coverage)
    return (lower, upper) if calibration is None else calibration.apply(lower, upper, centre)


def calibrate_statistic(
    samples: Float[Tensor, "B K C ..."], truth: Float[Tensor, "B C ..."], statistic: Statistic, coverage: float = 0.9
) -> Calibration:
    """Calibrate the intervals of a statistic on signals whose truth is known.

    Args:
        samples: Samples of each signal, `Restored.samples` of a batch.
        truth: The signals themselves.
        statistic: The statistic.
        coverage: Fraction of the true values to contain.

    Returns:
        What `statistic_interval` takes.
    """
    lower, upper, centre = (part[:, None] for part in _quantiles(samples, statistic, coverage))
    return Calibration.fit(lower, upper, statistic(truth)[:, None], centre=centre, coverage=coverage)


def _quantiles(samples: Tensor, statistic: Statistic, coverage: float) -> tuple[Tensor, Tensor, Tensor]:
    """Quantiles and mean of the statistic over the samples of each signal."""
    if samples.shape[1] < 2:
        raise UserError("an interval takes two samples or more of each signal: give `samples` to restore")
    values = torch.stack([statistic(own) for own in samples])
    return values.quantile((1 - coverage) / 2, dim=1), values.quantile((1 + coverage) / 2, dim=1), values.mean(dim=1)


def _check(region: Tensor) -> None:
    if region.dtype != torch.bool or not bool(region.any()):
        raise UserError("a region is a mask of truth values with something in it, True inside")
