"""Progress bar of a command, with the remaining time."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

Work = TypeVar("Work")


def tracked(work: Sequence[Work], doing: str, show: bool) -> Iterable[Work]:
    """Iterate with a progress bar on standard error, if that is a terminal and `show` is set."""
    if not (show and sys.stderr.isatty()):
        return work
    from rich.console import Console
    from rich.progress import track

    return track(work, doing, console=Console(stderr=True), transient=True)
