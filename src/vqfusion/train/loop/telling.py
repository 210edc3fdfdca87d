"""What a training prints while it runs."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from vqfusion.config import StageConfig
from vqfusion.train.loop.contract import MAY_CHANGE
from vqfusion.train.loop.pace import learning_rate
from vqfusion.train.loop.state import Resumed


def tell_changes(name: str, resumed: Resumed, stage: StageConfig) -> None:
    """Print in one line what changed for a resumed run."""
    before = resumed.stage
    if before is None or not resumed.step:
        return
    changed = [key for key in MAY_CHANGE if getattr(before, key) != getattr(stage, key)]
    if not changed:
        return
    values = ", ".join(f"{key} {getattr(before, key) or 0:g} -> {getattr(stage, key) or 0:g}" for key in changed)
    if stage.minutes or before.minutes:
        say(f"{name} goes on at step {resumed.step} with {values}")
        return
    now = learning_rate(stage, min(resumed.step, stage.steps))
    then = learning_rate(before, min(resumed.step, before.steps))
    say(f"{name} goes on at step {resumed.step} with {values}; the learning rate there is {now:.3g}, it was {then:.3g}")


def say(line: str, show: bool = True) -> None:
    """Print a line on standard error."""
    if show:
        Console(stderr=True).print(line, soft_wrap=True, highlight=False)


def progress_bar(active: bool) -> Progress:
    """Progress bar of a training on standard error; nothing where it is not `active`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", table_column=Column(no_wrap=True, min_width=11)),
        TextColumn("{task.fields[status]}"),
        console=Console(stderr=True),
        disable=not active,
    )
