"""A valid input, which the fuzzer damages."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Seed:
    """A valid input: the bytes of a file, its suffix, and the commands that take it (`{}` is its path).

    Attributes:
        name: What it is.
        suffix: Suffix of the file.
        data: The bytes.
        commands: Commands that take it.
        output: Suffix of what is written; empty where nothing is, or the command names it.
        is_text: Whether its tokens are mutated too.
        file: Path of the file in the folder of the run, where it has to have one; by default any name.
        beside: Folder whose content has to be there too.
    """

    name: str
    suffix: str
    data: bytes
    commands: tuple[str, ...]
    output: str = ""
    is_text: bool = False
    file: str = ""
    beside: Path | None = None
