"""Restoration of a batch of signals from measurements, with one prior, any operator, and error bars."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor

from vqfusion.diffusion.noise import Generators, draw_noise, seeded
from vqfusion.diffusion.operators import Denoise, Operator
from vqfusion.diffusion.operators.noise_models import broadcast_level
from vqfusion.diffusion.posterior.gradient import dps
from vqfusion.diffusion.posterior.null_space import ddnm, ddrm
from vqfusion.diffusion.posterior.proximal import diffpir
from vqfusion.diffusion.posterior.question import (
    CountedPrior,
    Question,
    RestorationPrior,
    ancestral,
    noise_levels,
    sloped,
)
from vqfusion.errors import UserError
from vqfusion.models.restoration.best_estimate import SLOPE, best_estimate
from vqfusion.models.restoration.intervals import EVERYTHING, Calibration
from vqfusion.models.restoration.mirrored import MirroredPrior
from vqfusion.models.restoration.noise_seen import lines_of, noise_seen
from vqfusion.models.restoration.regions import region_classes
from vqfusion.models.restoration.residual_statistics import statistics
from vqfusion.models.restoration.restored import Restored
from vqfusion.watch import told

Mode = Literal["mean", "sample", "interval"]
Method = Literal["auto", "ddnm", "ddrm", "diffpir", "dps"]
# question, start at the first level, levels [N, B], generators -> signal
Sampler = Callable[[Question, Tensor, Tensor, Generators], Tensor]

STEPS = 20
ELEMENTS_AT_ONCE = 2**20  # largest batch of samples of one signal, in elements
FAINT = 0.1  # of the least level that a prior was trained for: noise below it is left as it is
LAST = 0.004  # last noise level of a sampler, about 1 / 255


@torch.no_grad()
def restore_batch(
    prior: RestorationPrior,
    y: Tensor,
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
    """Restore a batch of signals x from measurements y = A(x) + noise; arguments as in `restore`.

    Args:
        prior: The prior.
        y: Measurements `[B, ...]` in sample units.
        operator: Measurement operator with its noise level; None is `Denoise()` with sigma estimated by `noise_seen`.
        mode: "mean", "sample" or "interval".
        samples: Samples for each item.
        steps: Evaluations of the prior for one estimate or sample.
        method: Sampler.
        generator: One for the batch, or one for each item.
        coverage: Fraction of elements that the intervals contain.
        calibration: Calibration of the intervals.
        group: Group of the calibration.
        self_ensemble: Average the prior over mirrored copies.

    Returns:
        Estimate, samples and intervals.

    Raises:
        UserError: y does not fit the operator or is not finite, unknown mode or method, or a method that does not suit
            the operator.
    """
    if not isinstance(y, Tensor):
        raise UserError(f"a measurement is a tensor [B, C, *size], not {type(y).__name__}: of a Sample, data[None]")
    operator = operator or Denoise()
    _check(y, operator, mode, method, samples, steps, coverage)
    if calibration is not None and calibration.coverage != coverage:
        raise UserError(
            f"the calibration is for a coverage of {calibration.coverage}, not {coverage}: fit one for that"
        )
    if calibration is not None and self_ensemble:
        raise UserError("the calibration is of answers without self_ensemble: leave one of them out")
    problem, counted = operator.gaussian_problem(y), CountedPrior(prior)
    asked = MirroredPrior(counted) if self_ensemble else counted
    like = problem.y.new_empty(1, *problem.operator.signal_shape(problem.y))
    problem.operator.check_rank(like)
    sigma, warnings = _level(problem.operator, problem.y)
    if isinstance(problem.operator, Denoise) and bool(
        ((faint := sigma < FAINT * counted.sigma_range[0]) & (sigma > 0)).any()
    ):
        sigma = sigma.masked_fill(faint, 0.0)
        warnings.append(
            f"noise under {FAINT * counted.sigma_range[0]:.2g} of the range of the values is below what this prior can "
            "tell, and left as it is; where a few outliers make the range, take them out first"
        )
    question = Question(asked, problem.operator, problem.y, broadcast_level(sigma, like))
    if float(sigma.max()) > counted.sigma_range[1]:
        warnings.append(
            f"noise of {float(sigma.max()):.3g} is beyond what the prior was trained for, {counted.sigma_range[1]:.3g}"
        )
    if isinstance(problem.operator, Denoise) and not bool(sigma.any()):
        return _untouched(y, mode, samples, sigma, warnings)
    banded = mode == "interval" and calibration is not None and calibration.band is not None
    drawn: Tensor | None = None
    if mode == "mean" or banded:
        mean = problem.back(best_estimate(question, steps))
    else:
        drawn = problem.back(_samples(question, method, samples, steps or STEPS, _generators(generator, len(y))))
        mean = drawn.mean(0)
    lower, upper = None, None
    if mode == "interval" and calibration is None:
        warnings.append("intervals are quantiles of the samples, not calibrated: they may hold less than they say")
    if drawn is not None and mode == "interval":
        lower, upper = drawn.quantile((1 - coverage) / 2, dim=0), drawn.quantile((1 + coverage) / 2, dim=0)
    if calibration is not None and mode == "interval":
        if calibration.band is not None:
            half = calibration.band(mean, operator.first_guess(y), sigma)
            lower, upper = mean - half, mean + half
        assert lower is not None and upper is not None
        classes = region_classes(mean, sigma) if calibration.regional else None
        lower, upper = calibration.apply(lower, upper, mean, group, classes)
        for found in statistics(y, mean, operator, sigma):
            warnings += [line for line in calibration.warnings(found) if line not in warnings]
    if isinstance(problem.operator, Denoise):
        exact = (broadcast_level(sigma, y) == 0).expand_as(y)
        mean = torch.where(exact, y, mean)
        drawn, lower, upper = (None if part is None else torch.where(exact, y, part) for part in (drawn, lower, upper))
    by_item = None if drawn is None else drawn.movedim(0, 1)
    return Restored(mean, by_item, lower, upper, sigma, counted.rows // len(y), tuple(warnings))


def _untouched(y: Tensor, mode: str, samples: int, sigma: Tensor, warnings: list[str]) -> Restored:
    """Result where there is no noise to remove: y itself in all modes."""
    drawn = None if mode == "mean" else y[:, None].expand(-1, samples, *y.shape[1:]).clone()
    lower, upper = (y.clone(), y.clone()) if mode == "interval" else (None, None)
    return Restored(y.clone(), drawn, lower, upper, sigma, 0, tuple(warnings))


def _samples(question: Question, method: str, samples: int, steps: int, generators: Generators) -> Tensor:
    """Draw `[samples, B, C, *size]`; sample k of an item depends only on the generator of the item."""
    seeds = [torch.randint(2**62, (samples,), generator=g, device=g.device).tolist() for g in generators]
    sampler, size = _sampler(question, method, steps), question.y[0].numel()
    if len(generators) > 1:
        return torch.stack([sampler(question, _seeded([own[k] for own in seeds])) for k in told(range(samples))])
    at_once, made = max(1, ELEMENTS_AT_ONCE // size), []
    for start in told(range(0, samples, at_once)):
        chosen = seeds[0][start : start + at_once]
        wide = Question(
            question.prior, question.operator, question.y.expand(len(chosen), *question.y.shape[1:]), question.sigma
        )
        made.append(sampler(wide, _seeded(chosen)))
    return torch.cat(made)[:, None]


def _sampler(question: Question, method: str, steps: int) -> Callable[[Question, Generators], Tensor]:
    """Sampler of a method with its start and noise levels."""
    operator, one_level = question.operator, question.sigma[0].numel() == 1
    if isinstance(operator, Denoise) and one_level and method == "auto":

        def from_the_measurement(question: Question, generators: Generators) -> Tensor:
            levels = _grid(question, question.sigma.flatten().clamp(min=question.prior.sigma_range[0]), steps)
            return ancestral(question.prior, question.y, levels, generators)

        return from_the_measurement
    if method in ("ddnm", "ddrm") and not operator.linear:
        raise UserError(f"method {method} is for linear operators, and {operator.kind} is not one: use diffpir or dps")
    run = SAMPLERS["diffpir" if method == "auto" else method]

    def from_noise(question: Question, generators: Generators) -> Tensor:
        guess = operator.first_guess(question.y)
        levels = _grid(question, guess.new_full((len(guess),), question.prior.sigma_range[1]), steps)
        noise = draw_noise(guess.shape[1:], generators, guess.dtype, guess.device)
        return run(question, guess + broadcast_level(levels[0], noise) * noise, levels, generators)

    return from_noise


SAMPLERS: dict[str, Sampler] = {
    "ddnm": ddnm,
    "ddrm": ddrm,
    "diffpir": partial(diffpir, variance=sloped(SLOPE)),
    "dps": dps,
}


def _grid(question: Question, highest: Tensor, steps: int) -> Tensor:
    highest = highest.expand(len(question.y))
    least = max(question.prior.sigma_range[0], LAST)
    return noise_levels(highest, torch.minimum(highest / 2, torch.full_like(highest, least)), steps)


def _level(operator: Operator, y: Tensor) -> tuple[Tensor, list[str]]:
    """Noise level `[B]` (or `[1]`, or a map), given or estimated, and warnings about it."""
    if operator.sigma is not None:
        level = torch.as_tensor(operator.sigma, dtype=y.dtype, device=y.device)
        return level.reshape(1) if level.ndim == 0 else level, []
    if not operator.shows_noise:
        raise UserError(f"the noise of {operator.kind} cannot be estimated from a signal with holes: give sigma")
    seen = [noise_seen(item) for item in y]
    return y.new_tensor([one.level for one in seen]), lines_of(seen)


def _generators(generator: torch.Generator | Sequence[torch.Generator] | None, batch: int) -> Generators:
    if isinstance(generator, torch.Generator):
        return _seeded(torch.randint(2**62, (batch,), generator=generator, device=generator.device).tolist())
    if generator is None:
        return seeded(0, batch)
    if len(generator) != batch:
        raise UserError(f"{len(generator)} generators for {batch} signals: give one, or one for each")
    return generator


def _seeded(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def _check(
    y: Tensor, operator: Operator, mode: str, method: str, samples: int, steps: int | None, coverage: float
) -> None:
    for value, kind, name in ((mode, Mode, "mode"), (method, Method, "method")):
        if value not in get_args(kind):
            raise UserError(f"{name} {value!r} is not one of {', '.join(get_args(kind))}")
    if y.ndim < 3 or not len(y):
        raise UserError(f"a measurement is [B, C, *size], not {list(y.shape)}: add the missing axes in front")
    if not y.is_floating_point():
        raise UserError(f"a measurement is of floating point, not {y.dtype}: of 8-bit values, y.float() / 255")
    if not bool(torch.isfinite(y).all()):
        raise UserError("the measurement holds NaN or infinity: hide such elements with Mask before restoring")
    if samples < 1 or (mode == "interval" and samples < 2):
        raise UserError(f"samples must be at least {2 if mode == 'interval' else 1}, not {samples}")
    if steps is not None and steps < 1:
        raise UserError(f"steps must be at least 1, not {steps}")
    if not 0 < coverage < 1:
        raise UserError(f"coverage must lie between 0 and 1, not {coverage}")
