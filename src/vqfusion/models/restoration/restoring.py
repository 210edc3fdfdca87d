"""`restore`: restoration of a signal from its measurement, in any form."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqfusion.data.convert import as_sample
from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.operators import Denoise, Operator
from vqfusion.diffusion.posterior.question import RestorationPrior
from vqfusion.errors import UserError
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.batch import restore_batch
from vqfusion.models.restoration.fitted import FittedSample
from vqfusion.models.restoration.intervals import EVERYTHING, Calibration
from vqfusion.models.restoration.own_noise import with_own_noise
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.restored import Restored
from vqfusion.types import Sample


def restore(
    prior: RestorationPrior,
    y: Any,
    operator: Operator | None = None,
    mode: str = "mean",
    samples: int = 8,
    steps: int | None = None,
    method: str = "auto",
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    coverage: float = 0.9,
    calibration: Calibration | None = None,
    group: str = EVERYTHING,
    self_ensemble: bool = False,
) -> Restored:
    """Restore the signal x behind a measurement y = A(x) + noise.

    Mode "mean" gives one deterministic estimate: one evaluation of the prior for denoising (and, with `steps` 1, for
    holes, if the prior has learned them), else plug-and-play. Mode "sample" draws from the posterior and also gives the
    mean of the samples. Mode "interval" adds ends that contain the fraction `coverage` of the elements: quantiles of
    the samples, scaled by `calibration` (or, where that has a band, the band about the mean, without samples). Without
    calibration the coverage is not guaranteed. Where sigma is 0, denoising returns y in every mode.

    Args:
        prior: A `Prior`, or anything with its `denoise`.
        y: Measurement in sample units: a batch `[B, C, *size]`, one tensor `[C, *size]`, or a path, picture, array or
            `Sample`. The result has the same form, see `Restored`.
        operator: Measurement operator with its noise level; None is `Denoise()` with sigma estimated by `noise_seen`.
        mode: "mean", "sample" or "interval".
        samples: Samples for each item.
        steps: Evaluations of the prior for one estimate or sample; None is the default of the method.
        method: Sampler: "ddnm" and "ddrm" for linear operators with a singular value decomposition, "diffpir" for all,
            "dps" for differentiable priors; "auto" starts from y itself for denoising, else "diffpir".
        generator: One for the batch, or one for each item, whose result then does not depend on the batch; None is seed
            0.
        coverage: Fraction of elements that the intervals contain.
        calibration: Calibration of the intervals; warns where the input is unlike its data.
        group: Group of the calibration.
        self_ensemble: Average the prior over 8 mirrored copies (2 for rank 1; see `MirroredPrior`). Calibrations do not
            apply to it.

    Returns:
        Estimate, samples and intervals, with warnings.

    Raises:
        UserError: y does not fit the operator or is not finite, unknown mode or method, or a method that does not suit
            the operator.
    """
    rest = (mode, samples, steps, method, generator, coverage, calibration, group, self_ensemble)
    if not isinstance(y, Tensor):
        return _restore_sample(prior, y, operator, rest)
    if y.ndim == _rank(prior) + 1:
        return restore_batch(prior, y[None], operator, *rest).only()
    return restore_batch(prior, y, operator, *rest)


def _rank(prior: Any) -> int:
    """Number of axes of the signals of a prior; 99 where unknown."""
    config = getattr(getattr(prior, "prior", prior), "config", None)
    return getattr(config, "rank", 99)


def _restore_sample(prior: Any, y: Any, operator: Operator | None, rest: tuple[Any, ...]) -> Restored:
    """Restore one sample, converted to the units of the prior as the command does."""
    prior = prior.prior if isinstance(prior, AnySizePrior) else prior
    if not isinstance(prior, Prior):
        raise UserError(f"a {type(prior).__name__} takes tensors [B, C, *size]; of a Sample give data[None]")
    sample = y if isinstance(y, Sample) else as_sample(y, None if _is_path(y) else prior.config.modality)
    fitted = FittedSample.of(sample, prior)
    if operator is None or (type(operator) is Denoise and not isinstance(operator.sigma, Tensor)):
        fitted, operator = _denoise(prior, fitted, operator)
    elif not fitted.as_it_is:
        raise UserError(
            f"{operator.kind} of {sample.modality} in its own units: ask TASKS of vqfusion, which fit the operator, or "
            "give a tensor in the units of the prior"
        )
    channels = fitted.y.shape[1]
    mode, samples, steps, method, generator, *others = rest
    if generator is None:
        generator = seeded(0, len(fitted.y))
    made = restore_batch(
        AnySizePrior(prior, channels),
        fitted.y.to(prior.device),
        operator,
        mode,
        samples,
        steps,
        method,
        generator,
        *others,
    )
    return made.as_samples(fitted.back, fitted.level_back(made.sigma), (*sample.notes, *fitted.warnings))


def _denoise(prior: Prior, fitted: FittedSample, operator: Operator | None) -> tuple[FittedSample, Operator]:
    """Operator for Gaussian noise with the given sigma in the units of the sample, or an estimated one."""
    if operator is not None and operator.noise is not None and operator.sigma is None and not fitted.as_it_is:
        raise UserError("noise that depends on the signal takes a tensor in the units of the prior")
    sigma = None if operator is None or operator.sigma is None else float(operator.sigma)
    if prior.config.noise is None:
        fitted = fitted.with_white_noise(sigma, prior)
    elif sigma is None:
        fitted = with_own_noise(fitted, prior)
        if fitted.levels is not None:
            return fitted, Denoise(fitted.levels)
    used = fitted.sigma if sigma is None else sigma
    return fitted, Denoise(None if used is None else fitted.level(used))


def _is_path(value: Any) -> bool:
    return isinstance(value, str) or hasattr(value, "__fspath__")
