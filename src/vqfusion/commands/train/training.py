"""A training as the command `train` runs it: cost, folder and result."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import typer

from vqfusion.config import ChainConfig, LatentTrainingConfig, PriorTrainingConfig
from vqfusion.config.chain import UNLIMITED
from vqfusion.runs.words import duration

if TYPE_CHECKING:
    from vqfusion.data import Dataset
    from vqfusion.train.loop.estimate import Estimate
    from vqfusion.train.loop.metrics import OnMetrics
    from vqfusion.train.loop.run import RunFolder

AnyTraining = TypeVar("AnyTraining", ChainConfig, PriorTrainingConfig, LatentTrainingConfig)


class Training(ABC, Generic[AnyTraining]):
    """One model to train to a folder; `opened` opens data sets.

    Attributes:
        section: Key of its config in the plan.
        room: Package of its kind, such as `vqfusion.train.fusion`.
    """

    section: ClassVar[str]
    room: ClassVar[ModuleType]

    def __init__(
        self,
        config: AnyTraining,
        folder: Path,
        device: str | None,
        start: str | None,
        opened: "Callable[..., Dataset]",
    ):
        self.config: AnyTraining = config
        self.folder = folder
        self.device = device
        self.start = start
        self.opened = opened
        self.started = time.monotonic()

    def run_folder(self) -> "RunFolder":
        """State of the folder of the training."""
        folder: RunFolder = self.room.run_folder(self.config, self.folder)
        return folder

    @property
    @abstractmethod
    def smallest_batch(self) -> int:
        """Smallest number of items in a step; more processes than that would be idle."""

    @abstractmethod
    def estimates(self) -> "Sequence[Estimate]":
        """Cost of every network on this machine."""

    @abstractmethod
    def rows(self, costs: "Sequence[Estimate]") -> Iterator[tuple[str, str]]:
        """Rows that `--dry-run` prints on networks, time and memory."""

    @cached_property
    def data(self) -> "Dataset":
        """The data set, opened once."""
        data: Dataset = self.room.open_data(self.config, self.opened)
        return data

    def check(self, begin: Path | None) -> None:
        """UserError where the training would refuse its data, its sizes or the model to begin from."""
        self.room.check(self.config, self.data)
        if begin:
            self.room.beginning(self.config, begin)

    @abstractmethod
    def run(self, begin: Path | None, on_metrics: "OnMetrics | None") -> dict[str, Any]:
        """Train, from the weights in the folder `begin` if given, and return facts such as the device."""

    def next_steps(self) -> list[str]:
        """Suggested commands for the trained model."""
        return [f"use it with --model {self.folder}"]

    def summary(self) -> list[tuple[str, str]]:
        """Rows on what was read, how it was divided, and what was dropped and why."""
        return []

    def last_lines(self) -> list[str]:
        """Lines on how good the trained model is."""
        return []

    def train(self, tensorboard: bool) -> dict[str, Any]:
        """Train and return the report."""
        from vqfusion.hub import find_model
        from vqfusion.train.loop.track import tensorboard as track

        leave_idle_out(self.smallest_batch)
        self.run_folder().require_own()
        begin = find_model(self.start) if self.start else None
        on_metrics = track(self.folder / "tensorboard") if tensorboard else None
        started = self.started
        self.tell_data(begin)
        with stoppable():
            made = self.run(begin, on_metrics)
        report = {"recipe": self.config.name, "output": str(self.folder), "seed": self.config.seed}
        return report | made | {"seconds": round(time.monotonic() - started, 3)}

    def tell_data(self, begin: Path | None) -> None:
        """Print the summary of the data before a new training, and a line on what is seriously wrong with own data.

        UserError, before anything is printed, where the training would refuse its device, data or beginning.
        """
        from rich.console import Console
        from rich.table import Table

        from vqfusion.commands.check import brief_check
        from vqfusion.commands.say import say
        from vqfusion.nn.weights import pick_device
        from vqfusion.train.loop.run import NEW

        if not is_first_process() or self.run_folder().state() != NEW:
            return
        if self.device is not None:
            pick_device(self.device)
        self.check(begin)
        if line := brief_check(self.config.data, self.data):
            say(line)
        if not (rows := self.summary()):
            return
        table = Table(show_header=False, title=f"data {self.config.data}", title_justify="left")
        for row in rows:
            table.add_row(*row)
        Console(stderr=True, markup=False, emoji=False).print(table)

    def cost(self) -> "Sequence[Estimate]":
        """The cost of every network; UserError where the training would not begin."""
        from vqfusion.hub import find_model

        self.check(find_model(self.start) if self.start else None)
        return self.estimates()

    def seconds(self, costs: "Sequence[Estimate]") -> float:
        """Time of the whole training."""
        return sum(one.seconds for one in costs)

    def plan(self, costs: "Sequence[Estimate]") -> dict[str, Any]:
        """Report of `--dry-run --json`."""
        from vqfusion.train.loop.run import GOES_ON

        state = self.run_folder().state()
        return {
            "recipe": self.config.name,
            "output": str(self.folder),
            "goes_on": state == GOES_ON,
            "state": state,
            "networks": [asdict(one) | {"peak_bytes": one.peak_bytes, "seconds": one.seconds} for one in costs],
            "seconds": self.seconds(costs),
            "data": [list(row) for row in self.summary()],
            self.section: self.config.model_dump(mode="json"),
        }

    def show(self, costs: "Sequence[Estimate]") -> None:
        """Print what `--dry-run` prints."""
        from rich.console import Console
        from rich.table import Table

        table = Table(show_header=False, title=f"recipe {self.config.name}", title_justify="left")
        table.add_row("data", f"{self.config.data}, seed {self.config.seed}")
        for row in self.summary():
            table.add_row(*row)
        table.add_row("run", f"{self.folder} ({self.run_folder().state()})")
        for row in self.rows(costs):
            table.add_row(*row)
        Console(markup=False, emoji=False).print(table)


@contextmanager
def stoppable() -> Iterator[None]:
    """Context that reports a stopped training in one line and exits with the code of its signal.

    Between the networks, where the training loop does not run, SIGTERM stops at once.
    """
    from vqfusion.train.loop.signals import Interrupted

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("stopped; nothing is lost, the same command goes on from there", 128 + number)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except Interrupted as stopped:
        if is_first_process():
            typer.echo(f"vqfusion: {stopped}", err=True)
        raise typer.Exit(stopped.exit_code) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def leave_idle_out(batch: int) -> None:
    """With more processes than items in a batch, use as many as there are items; the others exit without error."""
    rank, processes = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if processes <= batch:
        return
    if rank >= batch:
        raise typer.Exit(0)
    if is_first_process():
        typer.echo(f"vqfusion: a batch of {batch} is for {batch} of {processes} processes; the others end", err=True)
    os.environ["WORLD_SIZE"] = str(batch)


def is_first_process() -> bool:
    """Whether this is the first of the processes started by torchrun or `accelerate launch`."""
    return os.environ.get("RANK", "0") == "0"


def cost_of(one: "Estimate") -> str:
    """Parameters, memory and time per step of a network, in words."""
    memory = f"{one.peak_bytes / 2**20:.0f} MiB ({one.activation_bytes / 2**20:.0f} of them activations)"
    time = f"{one.seconds_per_step:.2g} s a step"
    if one.steps < UNLIMITED:
        time += f", about {duration(one.seconds)}"
    return f"{one.parameters / 1e6:.2f} M parameters, {memory}, {time}"


def time_of(costs: "Sequence[Estimate]") -> str:
    """Total time of a training, in words."""
    return f"about {duration(sum(one.seconds for one in costs))}"
