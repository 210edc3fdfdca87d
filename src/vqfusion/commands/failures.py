"""Inputs that are skipped, and why: one of many that cannot be read or answered does not stop the others."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vqfusion.errors import UserError

SHOWN = 60  # characters of a text that name it


class Failures:
    """What was skipped of several inputs; with `several` False nothing is, and errors pass through."""

    def __init__(self, several: bool):
        self.several = several
        self.rows: list[dict[str, str]] = []

    @contextmanager
    def skipping(self, source: str) -> Iterator[None]:
        """An input whose UserError inside the block is kept, and the block left."""
        try:
            yield
        except UserError as error:
            if not self.several:
                raise
            self.rows.append({"input": source, "error": str(error)})

    def check(self, done: int) -> None:
        """UserError where nothing was done, and for one reason: no single input is at fault then."""
        reasons = {row["error"] for row in self.rows}
        if not done and len(reasons) == 1:
            raise UserError(reasons.pop())

    def end(self) -> None:
        """Say what was skipped, a line each, and end with exit code 2 where something was."""
        for row in self.rows:
            about = "" if row["input"] in row["error"] else f"{row['input'][:SHOWN]}: "
            print("vqfusion: " + " ".join(f"{about}{row['error']}; skipped".split()), file=sys.stderr)
        if self.rows:
            raise typer.Exit(2)
