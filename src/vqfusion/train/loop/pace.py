"""How far a training is: by its steps, or by the time that it was given."""

import math

from vqfusion.config import StageConfig

WARM_PART = 0.1  # of a training in minutes, after which its warm-up is over in any case


def learning_rate(stage: StageConfig, step: int, fraction: float | None = None) -> float:
    """Learning rate: linear warm-up over `warmup_steps`, then cosine decay to zero at the end.

    Args:
        stage: Optimisation settings.
        step: Steps taken.
        fraction: Part of the training that is behind, in [0, 1]; by default that of the steps.
    """
    part = step / stage.steps if fraction is None else fraction
    warm = min(1.0, (step + 1) / max(1, stage.warmup_steps))
    if stage.minutes:  # the time may be over before the steps of the warm-up
        warm = max(warm, min(1.0, part / WARM_PART))
    return stage.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, part)))


def fraction_done(stage: StageConfig, step: int, seconds: float) -> float:
    """Part of a training that is behind after `step` steps and `seconds` of it, in [0, 1].

    A stage with `minutes` ends with its time or its steps, whichever is first.
    """
    by_steps = step / stage.steps if stage.steps else 1.0
    by_time = seconds / (60 * stage.minutes) if stage.minutes else 0.0
    return min(1.0, max(by_steps, by_time))


def steps_in_all(stage: StageConfig, step: int, fraction: float) -> int:
    """Number of steps that a training will have at the present pace."""
    return stage.steps if not stage.minutes or not fraction else max(step, min(stage.steps, round(step / fraction)))
