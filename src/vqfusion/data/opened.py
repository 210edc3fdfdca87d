"""Data sets that are opened once, though several parts of a command ask for them."""

from vqfusion.config.reading import ReadingConfig
from vqfusion.data import open_dataset
from vqfusion.data.record import Dataset


class Opened:
    """`open_dataset` that gives the same data set for the same name and settings."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Dataset] = {}

    def __call__(self, name: str, reading: ReadingConfig | None = None) -> Dataset:
        """The data set, opened at the first call."""
        key = (name, (reading or ReadingConfig()).model_dump_json())
        if key not in self.known:
            self.known[key] = open_dataset(name, reading)
        return self.known[key]
