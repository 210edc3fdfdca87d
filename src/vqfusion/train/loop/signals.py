"""Interruption of a training by SIGINT and SIGTERM between two steps."""

import signal
from types import FrameType
from typing import Any


class Interrupted(Exception):
    """Training was interrupted; everything is saved. `exit_code` is 130 for Ctrl-C and 143 for SIGTERM."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Signals:
    """Converts SIGINT and SIGTERM to a number that the loop checks between two steps.

    A signal that comes after the last check is delivered when the block ends, to the handler of before.
    """

    number: int | None = None

    def __enter__(self) -> "Signals":
        self.previous: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._note)
        except ValueError:  # not the main thread, which keeps its signal handlers
            pass
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number

    def __exit__(self, kind: object, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        if self.number is not None and kind is None:
            signal.raise_signal(self.number)
