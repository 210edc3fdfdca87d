"""What a kind of task does differently on the command line: a way, asked by `run`."""

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

BATCH = 8  # items that a model over codes takes at once


@dataclass(frozen=True, kw_only=True)
class Job:
    """One input (None where the task needs none), the model that is asked, and the files that the results go to."""

    item: Item | None
    model: str
    paths: list[Path]

    @property
    def source(self) -> str:
        """How the input stood on the command line, or its path."""
        return "" if self.item is None else self.item.source

    @property
    def files(self) -> list[Path]:
        """Every result of the job that is a file."""
        return self.paths


AnyTask = TypeVar("AnyTask", bound=Task)
AnyJob = TypeVar("AnyJob", bound=Job)


class Way(ABC, Generic[AnyTask, AnyJob]):
    """How the tasks of one kind are planned, written and reported."""

    doing: ClassVar[str]  # beside the bar
    model_option: ClassVar[tuple[Any, str | None]]  # annotation and default of --model
    bar = True  # whether a bar may be shown

    def __init__(self, task: AnyTask, request: Request):
        self.task = task
        self.request = request

    @property
    def made(self) -> tuple[str | None, ...]:
        """Folders that the results go to, so that they are no inputs of the next call."""
        return (self.request.output,)

    @abstractmethod
    def plan(self, inputs: Inputs, failures: Failures) -> list[AnyJob]:
        """What is to be done; UserError where an output may not be written."""

    @abstractmethod
    def refusal(self, model: str, kind: str) -> str | None:
        """Why a model of this kind cannot do it; None where it can."""

    @abstractmethod
    def batches(self, jobs: Sequence[AnyJob], kinds: dict[str, str]) -> list[list[AnyJob]]:
        """The jobs that go through a model together, by the kind of each model."""

    @abstractmethod
    def read(self, job: AnyJob) -> "Sample":
        """The input of a job."""

    @abstractmethod
    def finish(self, job: AnyJob, given: "Sample | None", answer: Answer, i: int) -> None:
        """Write item `i` of an answer, or print it, and keep what is to be reported."""

    @abstractmethod
    def report(self, skipped: dict[str, Any]) -> dict[str, Any]:
        """What `--json` prints of all batches, with what was skipped."""

    @abstractmethod
    def say(self, report: dict[str, Any]) -> None:
        """What is printed at the end without `--json`."""
