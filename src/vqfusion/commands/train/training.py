"""A training as `train` sees it: what it costs, what its folder holds, and what came of it."""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import typer

from vqfusion.config import ChainConfig, LatentTrainingConfig, PriorTrainingConfig
from vqfusion.files import make_folder

if TYPE_CHECKING:
    from vqfusion.train.loop.estimate import Estimate
    from vqfusion.train.loop.metrics import OnMetrics
    from vqfusion.train.loop.run import RunFolder

AnyTraining = TypeVar("AnyTraining", ChainConfig, PriorTrainingConfig, LatentTrainingConfig)


class Training(ABC, Generic[AnyTraining]):
    """One thing to be trained to a folder; `section` is where its config is in the plan."""

    section: ClassVar[str]

    def __init__(self, config: AnyTraining, folder: Path, device: str | None, start: str | None):
        self.config: AnyTraining = config
        self.folder = folder
        self.device = device
        self.start = start

    @abstractmethod
    def run_folder(self) -> "RunFolder":
        """What the training finds in its folder."""

    @property
    @abstractmethod
    def smallest_batch(self) -> int:
        """The fewest items that a step has; more processes than that would have nothing to do."""

    @abstractmethod
    def estimates(self) -> "Sequence[Estimate]":
        """The cost of every network on this machine."""

    @abstractmethod
    def rows(self, costs: "Sequence[Estimate]") -> Iterator[tuple[str, str]]:
        """What `--dry-run` says of the networks, the time and the memory."""

    def read(self) -> None:
        """Read what may turn out to be missing, before anything is written."""

    @abstractmethod
    def run(self, begin: Path | None, on_metrics: "OnMetrics | None") -> dict[str, Any]:
        """Train, beginning with the model in the folder `begin`, and say what there is now: its device, its size."""

    def next_steps(self) -> list[str]:
        """What can be done with the trained model."""
        return [f"use it with --model {self.folder}"]

    def train(self, tensorboard: bool) -> dict[str, Any]:
        """Train, and say what came of it."""
        from vqfusion.hub import find_model
        from vqfusion.train.loop.track import tensorboard as track

        leave_idle_out(self.smallest_batch)
        self.run_folder().require_own()
        begin = find_model(self.start) if self.start else None
        self.read()
        make_folder(self.folder)
        on_metrics = track(self.folder / "tensorboard") if tensorboard else None
        started = time.monotonic()
        with stoppable():
            made = self.run(begin, on_metrics)
        report = {"recipe": self.config.name, "output": str(self.folder), "seed": self.config.seed}
        return report | made | {"seconds": round(time.monotonic() - started, 3)}

    def plan(self, costs: "Sequence[Estimate]") -> dict[str, Any]:
        """What `--dry-run --json` prints."""
        from vqfusion.train.loop.run import GOES_ON

        state = self.run_folder().state()
        return {
            "recipe": self.config.name,
            "output": str(self.folder),
            "goes_on": state == GOES_ON,
            "state": state,
            "networks": [asdict(one) | {"peak_bytes": one.peak_bytes, "seconds": one.seconds} for one in costs],
            "seconds": sum(one.seconds for one in costs),
            self.section: self.config.model_dump(mode="json"),
        }

    def show(self, costs: "Sequence[Estimate]") -> None:
        """What `--dry-run` prints."""
        from rich.console import Console
        from rich.table import Table

        table = Table(show_header=False, title=f"recipe {self.config.name}", title_justify="left")
        table.add_row("data", f"{self.config.data}, seed {self.config.seed}")
        table.add_row("run", f"{self.folder} ({self.run_folder().state()})")
        for row in self.rows(costs):
            table.add_row(*row)
        Console(markup=False, emoji=False).print(table)


@contextmanager
def stoppable() -> Iterator[None]:
    """A training that was stopped says so in one line and ends with the code of its signal.

    Between the steps of a network, where the loop does not listen, SIGTERM stops at once.
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
    """With more processes than items in a batch, go on with as many as there are items; the others end, all well."""
    rank, processes = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if processes <= batch:
        return
    if rank >= batch:
        raise typer.Exit(0)
    if is_first_process():
        typer.echo(f"vqfusion: a batch of {batch} is for {batch} of {processes} processes; the others end", err=True)
    os.environ["WORLD_SIZE"] = str(batch)


def is_first_process() -> bool:
    """Whether this process speaks for all those that torchrun or `accelerate launch` started."""
    return os.environ.get("RANK", "0") == "0"


def cost_of(one: "Estimate") -> str:
    memory = f"{one.peak_bytes / 2**20:.0f} MiB ({one.activation_bytes / 2**20:.0f} of them activations)"
    time = f"{one.seconds_per_step:.2g} s a step, about {duration(one.seconds)}"
    return f"{one.parameters / 1e6:.2f} M parameters, {memory}, {time}"


def time_of(costs: "Sequence[Estimate]") -> str:
    return f"about {duration(sum(one.seconds for one in costs))}"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
