"""Inputs that are skipped: of several inputs, one that fails does not stop the others."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from vqfusion.commands.say import say
from vqfusion.errors import UserError

SHOWN = 60  # characters by which a text is named


class Failures:
    """Records skipped inputs; with `several` False nothing is skipped and errors pass through."""

    def __init__(self, several: bool):
        self.several = several
        self.rows: list[dict[str, str]] = []

    @contextmanager
    def skipping(self, source: str) -> Iterator[None]:
        """Context that records a UserError for an input and ends the block; alone, a file is named in it."""
        try:
            yield
        except UserError as error:
            if not self.several:
                if os.path.isfile(source) and source not in str(error) and not str(error).startswith("--"):
                    raise UserError(f"{source}: {error}") from None
                raise
            self.rows.append({"input": source, "error": str(error)})

    def check(self, done: int) -> None:
        """Raise UserError where all inputs failed for one reason, since no single input is at fault then."""
        reasons = {row["error"] for row in self.rows}
        if not done and len(reasons) == 1:
            raise UserError(reasons.pop())

    def end(self) -> None:
        """Print skipped inputs, one line each, and exit with code 2 where there are any."""
        for row in self.rows:
            about = "" if row["input"] in row["error"] else f"{row['input'][:SHOWN]}: "
            say(f"{about}{row['error']}; skipped")
        if self.rows:
            raise typer.Exit(2)
