"""What stands on the command line as INPUTS, as items that can be read when their turn comes."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqfusion.errors import UserError

if TYPE_CHECKING:
    from vqfusion.types import Sample

SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif"),
    "text": (".txt", ".md"),
}
WORDS = {"image": "a picture", "audio": "a sound", "text": "a text"}


@dataclass(frozen=True)
class Item:
    """One input: a file (`path`), or a `text` that stood on the command line or came by standard input.

    `name` is what its results are called, `label` what a person would call it; `from_folder` says that it was
    found in a folder, so that its results belong in one too.
    """

    name: str
    label: str
    modality: str
    path: Path | None = None
    text: str = ""
    from_folder: bool = False

    def read(self) -> "Sample":
        """The sample; UserError where the file is unreadable or the text empty."""
        from vqfusion.data.io import read
        from vqfusion.types import Sample

        if self.path is not None:
            return read(self.path, self.modality)
        if not self.text.strip():
            raise UserError(f"{self.label}: the text is empty; give at least one word")
        return Sample("text", self.text)


def collect(arguments: Sequence[str], accepts: tuple[str, ...]) -> list[Item]:
    """The items that the arguments stand for, in order; files of a folder in the order of their names."""
    return [item for argument in arguments for item in _items(argument, accepts)]


def _items(argument: str, accepts: tuple[str, ...]) -> Iterator[Item]:
    wanted = " or ".join(WORDS[modality] for modality in accepts)
    if argument == "-":
        if "text" not in accepts:
            raise UserError(f"-: standard input carries text only, and this verb needs {wanted}; give a file")
        yield Item("stdin", "standard input", "text", text=_standard_input())
    elif os.path.isdir(argument):
        folder = Path(argument)
        found = [(path, _modality(path.name, accepts)) for path in sorted(folder.iterdir()) if path.is_file()]
        if not any(modality for _, modality in found):
            suffixes = ", ".join(suffix for modality in accepts for suffix in SUFFIXES[modality])
            raise UserError(f"{argument}: the folder holds no file that is {wanted} ({suffixes})")
        for path, modality in found:
            if modality:
                yield Item(path.stem, str(path), modality, path=path, from_folder=True)
    elif os.path.exists(argument):
        modality = accepts[0] if len(accepts) == 1 else _modality(argument, accepts)
        if not modality:
            raise UserError(f"{argument}: its name does not say whether it is {wanted}; rename it")
        yield Item(Path(argument).stem, argument, modality, path=Path(argument))
    elif "text" in accepts and not _modality(argument, tuple(SUFFIXES)):
        yield Item(_slug(argument), repr(argument[:40]), "text", text=argument)
    else:
        raise UserError(f"{argument[:200]}: no such file or folder; give {wanted}")


def _modality(name: str, accepts: tuple[str, ...]) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return next((modality for modality in accepts if suffix in SUFFIXES[modality]), "")


def _standard_input() -> str:
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise UserError("standard input: not UTF-8 text; give a file instead of -") from None


def _slug(text: str) -> str:
    """A file name for a text: its words, joined by hyphens, no longer than 40 characters."""
    return re.sub(r"[^\w]+", "-", text.lower())[:40].strip("-") or "text"
