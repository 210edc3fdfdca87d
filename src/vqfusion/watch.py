"""Progress of long work: told from where the work is done to whoever watches it, who may also end it.

Torch-free. Loops over steps, tiles or samples are written `for one in told(work)`; without a watcher that is a plain
loop. A loop within a loop divides the part of the outer one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TypeVar

Work = TypeVar("Work")


@dataclass
class _Watch:
    """Who is told, the part of the whole that the innermost loop covers, and the furthest point that was told."""

    tell: Callable[[float], None]
    low: float = 0.0
    high: float = 1.0
    furthest: float = 0.0

    def reach(self, fraction: float) -> None:
        self.furthest = max(self.furthest, fraction)
        self.tell(self.furthest)


_WATCH: ContextVar[_Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(tell: Callable[[float], None]) -> Iterator[None]:
    """Context whose work is watched.

    Args:
        tell: Called with the fraction that is done, in [0, 1] and never smaller than before, at the beginning of each
            step. What it raises ends the work.
    """
    token = _WATCH.set(_Watch(tell))
    try:
        yield
    finally:
        _WATCH.reset(token)


def told(work: Sequence[Work]) -> Iterator[Work]:
    """Iterate over the parts of some work, and tell the watcher, if there is one, how much of the whole is done."""
    watch = _WATCH.get()
    if watch is None:
        yield from work
        return
    low, high = watch.low, watch.high
    each = (high - low) / max(1, len(work))
    try:
        for i, part in enumerate(work):
            watch.low, watch.high = low + i * each, low + (i + 1) * each
            watch.reach(watch.low)
            yield part
        watch.reach(high)
    finally:
        watch.low, watch.high = low, high
