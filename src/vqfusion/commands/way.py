"""How the command runs one kind of task: the interface that `run` uses."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from vqfusion.commands.failures import Failures
from vqfusion.commands.inputs import Inputs, Item
from vqfusion.commands.options import Request
from vqfusion.tasks import Answer, Task

if TYPE_CHECKING:
    from vqfusion.types import Sample

BATCH = 8  # batch size of models over codes


@dataclass(frozen=True, kw_only=True)
class Job:
    """One input (None where the task has none), the model to use, and the files of the results."""

    item: Item | None
    model: str
    paths: list[Path]

    @property
    def source(self) -> str:
        """The input as it was given on the command line, or its path."""
        return "" if self.item is None else self.item.source

    @property
    def files(self) -> list[Path]:
        """All files of the results."""
        return self.paths


AnyTask = TypeVar("AnyTask", bound=Task)
AnyJob = TypeVar("AnyJob", bound=Job)


class Way(ABC, Generic[AnyTask, AnyJob]):
    """Planning, writing and reporting of the tasks of one kind."""

    doing: ClassVar[str]  # label of the progress bar
    model_option: ClassVar[tuple[Any, str | None]]  # annotation and default of --model
    bar = True  # whether a progress bar may be shown

    def __init__(self, task: AnyTask, request: Request):
        self.task = task
        self.request = request

    @property
    def made(self) -> tuple[str | None, ...]:
        """Folders of the results, which are not inputs of the next call."""
        return (self.request.output,)

    @abstractmethod
    def plan(self, inputs: Inputs, failures: Failures) -> list[AnyJob]:
        """Jobs to do; UserError where an output may not be written."""

    @abstractmethod
    def refusal(self, model: str, kind: str) -> str | None:
        """Message why a model of this kind cannot do the task; None where it can."""

    @abstractmethod
    def batches(self, jobs: Sequence[AnyJob], kinds: dict[str, str]) -> list[list[AnyJob]]:
        """Jobs grouped into batches, by the kind of each model."""

    @abstractmethod
    def read(self, job: AnyJob) -> "Sample":
        """Read the input of a job."""

    @abstractmethod
    def finish(self, job: AnyJob, given: "Sample | None", answer: Answer, i: int) -> None:
        """Write or print item `i` of the results and record it for the report."""

    @abstractmethod
    def report(self, skipped: dict[str, Any]) -> dict[str, Any]:
        """Report of all batches for `--json`, with the skipped inputs."""

    @abstractmethod
    def say(self, report: dict[str, Any]) -> None:
        """Print what `run` prints at the end without `--json`."""
