"""The bar that shows how far a command is, and the time left."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

Work = TypeVar("Work")


def tracked(work: Sequence[Work], doing: str, show: bool) -> Iterable[Work]:
    """The work, with a bar on standard error where that is a terminal and `show` asks for one."""
    if not (show and sys.stderr.isatty()):
        return work
    from rich.console import Console
    from rich.progress import track

    return track(work, doing, console=Console(stderr=True), transient=True)
