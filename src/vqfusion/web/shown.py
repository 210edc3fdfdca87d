"""What the user who starts a server shows on its page: trainings to watch, and files that are given already."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqfusion.data.io.file import modality_of_suffix
from vqfusion.errors import UserError
from vqfusion.runs.page import sections
from vqfusion.runs.run import Run, runs_in
from vqfusion.web.bounds import Bounds
from vqfusion.web.refusal import Refusal


@dataclass(frozen=True)
class Shown:
    """Trainings and files; a client names them as they are listed, and nothing else.

    Attributes:
        runs: Folder of trainings; None shows none.
        files: Files.
    """

    runs: Path | None = None
    files: tuple[Path, ...] = ()

    def check(self, bounds: Bounds) -> None:
        """Raise UserError where a file or the folder is not there, or the page could not take the file."""
        if self.runs is not None:
            list(runs_in(self.runs))
        for path in self.files:
            if not path.is_file():
                raise UserError(f"{path}: {'a folder; name its files' if path.is_dir() else 'no such file'}")
            if modality_of_suffix(path) is None:
                raise UserError(f"{path}: of no kind that can be used; give a picture, sound, table, volume or text")
            if path.stat().st_size > bounds.bytes:
                raise UserError(f"{path}: over the limit of {bounds.bytes:,} bytes; raise it with --limit bytes=...")

    def trainings(self) -> list[dict[str, Any]]:
        """The trainings, with where they stand."""
        return [_row(run) for run in self._runs().values()]

    def training(self, name: str) -> dict[str, Any]:
        """A training of the list with its page, as the parts of a page; Refusal where there is none of this name."""
        found = self._runs()
        if name not in found:
            raise Refusal(404, f"training {name[:60]!r} is not one of this server")
        run = found[name]
        return _row(run) | {"html": "".join(sections(run).values())}

    def content(self, number: int) -> tuple[str, bytes]:
        """Name and content of a file by its number; Refusal where there is none."""
        if not 0 <= number < len(self.files):
            raise Refusal(404, "there is no such file")
        try:
            return self.files[number].name, self.files[number].read_bytes()
        except OSError:
            raise Refusal(404, "the file is gone") from None

    def _runs(self) -> dict[str, Run]:
        if self.runs is None or not self.runs.is_dir():
            return {}
        return {run.name: run for run in runs_in(self.runs)}


def _row(run: Run) -> dict[str, Any]:
    standing = run.standing
    best = run.last.best if run.last else None
    return {
        "name": run.name,
        "kind": run.kind,
        "state": standing.state,
        "network": standing.stage,
        "step": standing.step,
        "steps": standing.steps,
        "left_s": standing.left_s,
        "best_loss": best.get("loss") if best else None,
    }
