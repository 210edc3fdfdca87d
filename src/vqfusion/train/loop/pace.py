"""How far a training is, by its steps or by the time that it was given, and how long it still takes."""

import math
import time
from collections import deque

from vqfusion.config import StageConfig

WARM_PART = 0.1  # of a training in minutes, after which its warm-up is over in any case
WINDOW_S, MARK_S, TELLING_S = 120.0, 1.0, 10.0  # time that a pace is measured over, between marks, and at least


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


class Clock:
    """Time left of a training at its pace of the last two minutes, and how much of a processor it gets.

    The thread of a training on processors always has work, so where it was given less processor time than has passed,
    others use the machine too.

    Args:
        alone: Whether the training is a single process on processors, which waits for nothing else.
    """

    def __init__(self, alone: bool):
        self.alone = alone
        self.marks: deque[tuple[float, float, float]] = deque()  # time, processor time of the thread, fraction done

    def tick(self, fraction: float) -> None:
        """Note how far the training is; called before the first step and after each."""
        now = time.monotonic()
        if self.marks and now - self.marks[-1][0] < MARK_S:
            return
        self.marks.append((now, time.thread_time(), fraction))
        while len(self.marks) > 2 and now - self.marks[1][0] > WINDOW_S:
            self.marks.popleft()

    @property
    def left_s(self) -> float | None:
        """Seconds to the end; None before the first mark after a step."""
        if len(self.marks) < 2:
            return None
        (began, _, before), (now, _, done) = self.marks[0], self.marks[-1]
        return (1 - done) * (now - began) / (done - before) if done > before else None

    @property
    def processor(self) -> float | None:
        """Share of a processor in [0, 1]; None where it cannot be told."""
        if not self.alone or len(self.marks) < 2:
            return None
        (began, used, _), (now, by_now, _) = self.marks[0], self.marks[-1]
        return min(1.0, (by_now - used) / (now - began)) if now - began >= TELLING_S else None
