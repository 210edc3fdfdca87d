"""Gaps of a series as a `Sample`: estimate, ends of intervals and samples."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from vqfusion.modalities import MODALITIES
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.gaps.filling import Learned, Table, fill_table
from vqfusion.models.restoration.prior import Prior
from vqfusion.types import Sample

DEVIATION = 0.1  # of a series, in half the range of a prior


@dataclass(frozen=True)
class FilledSeries:
    """A series with its gaps filled in; known values are unchanged, channels without any value stay empty.

    Attributes:
        mean: Means of the missing values.
        lower: Lower ends of the intervals.
        upper: Upper ends of the intervals.
        samples: Joint samples.
        warnings: Messages for the user.
    """

    mean: Sample
    lower: Sample
    upper: Sample
    samples: list[Sample]
    warnings: tuple[str, ...] = ()


def fill_series(
    series: Sample,
    seen: Bool[Tensor, "C T"] | None = None,
    samples: int = 0,
    coverage: float = 0.9,
    seed: int = 0,
    prior: Prior | None = None,
) -> FilledSeries:
    """Fill the gaps of a series, all channels together; see `fill_table`.

    Args:
        series: Series `[C, T]`, NaN where missing.
        seen: True at values to keep; by default all that are not NaN.
        samples: Number of joint samples.
        coverage: Share of the true values within the intervals.
        seed: Random seed of the samples; the estimate and its intervals do not depend on it.
        prior: Prior of series with one channel that has learned holes, as a further estimate; others are ignored.

    Returns:
        The filled series.
    """
    known = series.data.isfinite() if seen is None else seen & series.data.isfinite()
    values = torch.where(known, series.data.double(), torch.nan).cpu().numpy()
    made = fill_table(values, samples, coverage, seed, None if prior is None else learned_by(prior))

    def whole(table: Table) -> Sample:
        return replace(series, data=torch.where(known, series.data, torch.from_numpy(table).to(series.data)))

    drawn = [whole(one) for one in made.samples]
    return FilledSeries(whole(made.mean), whole(made.lower), whole(made.upper), drawn, made.warnings)


def learned_by(prior: Prior) -> Learned | None:
    """Estimates of a prior of series, channel by channel; None where it is of another kind or knows no holes."""
    config = prior.config
    if not MODALITIES[config.modality].by_channel or config.channels != 1 or "holes" not in config.learned:
        return None
    low, high = config.value_range
    middle, unit = (low + high) / 2, DEVIATION * (high - low) / 2
    denoiser = AnySizePrior(prior, 1)

    def estimates(table: Table) -> Table:
        missing = torch.from_numpy(np.isnan(table))[:, None]
        x = torch.from_numpy(np.nan_to_num(table)).float()[:, None] * unit + middle
        levels = torch.full_like(x, config.sigma_range[0]).masked_fill(missing, torch.inf)
        with torch.no_grad():
            made = denoiser.denoise(x.to(prior.device), levels.to(prior.device))
        return ((made[:, 0].cpu().double() - middle) / unit).numpy()

    return estimates
