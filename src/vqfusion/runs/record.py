"""What a training tells while it runs: `run.json`, and the page `run.html` on which it is watched."""

import time
from contextlib import suppress
from pathlib import Path

from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.runs.run import STANDING, TRAINING, Standing, read_run

PAGE = "run.html"
EVERY_S = 15.0  # least time between two pages
SPARING = 100  # times as long as a page took passes before the next one


class Record:
    """Record of one training in its folder.

    It is written seldom enough to cost less than a hundredth of the time; a full disk stops the checkpoints, but not
    because of this record.

    Args:
        folder: Folder of the training.
        first: Whether this is the process that writes.
    """

    def __init__(self, folder: Path, first: bool = True):
        self.folder, self.first = folder, first
        self.standing = Standing()
        self.next_at = 0.0  # `time.monotonic()` before which nothing is written

    def begin(self) -> None:
        """Say that the training has begun, or goes on."""
        if self.first:
            before = read_run(self.folder).standing
            self._write(Standing(began=before.began))

    def stands(
        self,
        stage: str,
        step: int,
        steps: int,
        fraction: float,
        left_s: float | None = None,
        processor: float | None = None,
    ) -> None:
        """Say where the training stands, see `Standing`; may be called after each step."""
        due = stage != self.standing.stage or time.monotonic() >= self.next_at
        if self.first and due:
            self._write(Standing(TRAINING, "", stage, step, steps, fraction, left_s, processor, self.standing.began))

    def end(self, state: str, message: str = "") -> None:
        """Say how the training ended; the stage and step are those of the files."""
        if not self.first:
            return
        run = read_run(self.folder)
        before, stage, step, steps = run.standing, "", 0, 0
        if run.last:
            stage, step = run.last.name, run.last.step
        if stage == before.stage:
            step, steps = max(step, before.step), before.steps
        self._write(Standing(state, message, stage, step, max(step, steps), before.fraction, began=before.began))

    def _write(self, standing: Standing) -> None:
        self.standing = standing
        began = time.monotonic()
        with suppress(UserError):
            write_bytes(self.folder / STANDING, standing.as_json())
            write_page(self.folder)
        ended = time.monotonic()
        self.next_at = ended + max(EVERY_S, SPARING * (ended - began))


def write_page(folder: Path) -> None:
    """Write the page of the training in a folder."""
    from vqfusion.runs.page import run_page

    write_bytes(folder / PAGE, run_page(read_run(folder)).encode(errors="backslashreplace"))
