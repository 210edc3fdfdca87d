"""Folder of a training, used by one process at a time for one config."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from vqfusion.config import Config
from vqfusion.errors import UserError
from vqfusion.files import remove_unfinished
from vqfusion.models.unfinished import is_unfinished, mark_finished, mark_unfinished
from vqfusion.nn.weights import load_json, save_json
from vqfusion.runs.lock import LOCK, release, take
from vqfusion.runs.record import Record
from vqfusion.runs.run import FAILED, INTERRUPTED
from vqfusion.runs.run import FINISHED as ENDED
from vqfusion.train.loop.contract import differences
from vqfusion.train.loop.fit import OnSave
from vqfusion.train.loop.signals import Interrupted

NEW, GOES_ON, FINISHED = "new", "goes on", "trained already"
OTHER_RUN, OTHER_MODEL = "holds a run with another config", "holds another model"
MEND = "choose another --output, or delete it"

Value = TypeVar("Value")


@dataclass(frozen=True)
class RunFolder:
    """Folder of a training.

    Attributes:
        path: The folder.
        kind: Kind of the training; the config is stored in `kind`.json.
        config: The config.
        parts: Folders of the checkpoints, in the order of training.
        settled: For each part, the section of the config that is fixed once the part has started.
    """

    path: Path
    kind: str
    config: Config
    parts: tuple[str, ...] = ()
    settled: dict[str, str] = field(default_factory=dict)

    def state(self) -> str:
        """State of the folder: NEW, GOES_ON, FINISHED, or OTHER_RUN and OTHER_MODEL followed by the reason."""
        model = (self.path / "config.json").exists()
        if not self._begun():
            return f"{OTHER_MODEL}; {MEND}" if model else NEW
        found = self._differences()
        for one in found:
            section = one.where.partition(".")[0]
            settled = any((self.path / part).exists() for part, of in self.settled.items() if of == section)
            if not one.allowed or settled:
                return f"{OTHER_RUN} ({one}); {MEND}"
        return FINISHED if model and not found and not is_unfinished(self.path) else GOES_ON

    def require_own(self) -> None:
        """Raise UserError where the folder belongs to another run or model."""
        state = self.state()
        if state.startswith((OTHER_RUN, OTHER_MODEL)):
            raise UserError(f"{self.path}: {state}")

    @contextmanager
    def held(self, accelerator: Accelerator) -> Iterator[Record]:
        """Context that locks the folder for this run; all processes of the run enter together.

        Yields:
            The record of the training, in which it is said how the context ended.

        Raises:
            UserError: Another run uses the folder, or it belongs to another run; raised in every process.
        """
        lock = on_first(accelerator, lambda: take(self.path / LOCK))
        try:
            on_first(accelerator, self._claim)
            record = Record(self.path, accelerator.is_main_process)
            if self.state() != FINISHED:
                record.begin()
            with _told(record):
                yield record
        finally:
            if accelerator.is_main_process:
                release(lock)

    def on_save(self, part: str, save: Callable[[], None]) -> OnSave:
        """Callback of `fit` that saves a usable model, marked as unfinished."""

        def mark_and_save(step: int, steps: int) -> None:
            mark_unfinished(self.path, part, step, steps)
            save()

        return mark_and_save

    def finish(self, accelerator: Accelerator, save: Callable[[], None]) -> None:
        """Save the trained model and mark it as finished."""

        def save_and_mark() -> None:
            save()
            mark_finished(self.path)

        on_first(accelerator, save_and_mark)

    def _claim(self) -> None:
        self.require_own()
        for folder in (self.path, *(path for path in self.path.iterdir() if path.is_dir())):
            remove_unfinished(folder)
        save_json(self.path / f"{self.kind}.json", self.config.model_dump(mode="json"))

    def _begun(self) -> bool:
        return any((self.path / name).exists() for name in (f"{self.kind}.json", *self.parts))

    def _differences(self) -> list:
        held = self.path / f"{self.kind}.json"
        if not held.exists():  # a run of an earlier version; its checkpoints have the config too
            return []
        return list(differences(load_json(held), self.config.model_dump(mode="json")))


@contextmanager
def _told(record: Record) -> Iterator[None]:
    """Context whose end is told to a record."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stopped:
        record.end(INTERRUPTED, str(stopped) or "stopped")
        raise
    except Exception as error:
        record.end(FAILED, str(error) or type(error).__name__)
        raise
    record.end(ENDED)


def on_first(accelerator: Accelerator, action: Callable[[], Value]) -> Value:
    """Run an action in the first process only and return its result in all; its UserError is raised in all."""
    made: list = [None, None]
    if accelerator.is_main_process:
        try:
            made[0] = action()
        except UserError as error:
            made[1] = str(error)
    broadcast_object_list(made)
    if made[1] is not None:
        raise UserError(made[1])
    return made[0]
