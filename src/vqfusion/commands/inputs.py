"""What stands on the command line as INPUTS, as items that can be read when their turn comes."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqfusion.data.io import modality_of_suffix, read
from vqfusion.data.io.file import modality_of_head, stem_of
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, in_words, suffixes_of

if TYPE_CHECKING:
    from vqfusion.types import Sample


@dataclass(frozen=True)
class Item:
    """One input: a file (`-` is standard input) or the `text` itself.

    `name` is what its results are called; `accepts` lists the modalities that it may be of; `from_folder`
    says that it was found in a folder, so that its results belong in one too.
    """

    name: str
    source: str
    accepts: tuple[str, ...]
    is_text: bool = False
    from_folder: bool = False

    def read(self, keep: bool = False) -> "Sample":
        """The sample; UserError where the file is unreadable, of the wrong kind, or the text is empty.

        `keep` as for `data.io.read`.
        """
        if not self.is_text:
            sample = read(self.source, self.accepts[0] if len(self.accepts) == 1 else None, keep=keep)
            if sample.modality not in self.accepts:
                holds = MODALITIES[sample.modality].noun
                raise UserError(f"{self.source}: holds {holds}; give {_wanted(self.accepts)}")
            return sample
        from vqfusion.data.io.text import as_text

        return as_text(self.source)

    def modality(self) -> str:
        """What the file holds by its first bytes, or else by its name; UserError where the task does not take it."""
        found = modality_of_head(self.source) or modality_of_suffix(self.source)
        if found not in self.accepts:
            holds = f"holds {MODALITIES[found].noun}" if found else "is of no supported kind"
            raise UserError(f"{self.source}: {holds}; give {_wanted(self.accepts)}")
        return found


def collect(arguments: Sequence[str], accepts: tuple[str, ...]) -> list[Item]:
    """The items that the arguments stand for, in order; files of a folder in the order of their names.

    A text stands for itself unless it is the name of a file or ends like one.
    """
    return [item for argument in arguments for item in _items(argument, accepts)]


def files_in(folder: str) -> list[Path]:
    """The files of a folder in the order of their names, hidden ones left out."""
    return [path for path in sorted(Path(folder).iterdir()) if path.is_file() and not path.name.startswith(".")]


def _items(argument: str, accepts: tuple[str, ...]) -> Iterator[Item]:
    if argument == "-":
        yield Item("stdin", argument, accepts)
    elif os.path.isdir(argument):
        paths = [path for path in files_in(argument) if modality_of_suffix(path) in accepts]
        if not paths:
            raise UserError(f"{argument}: the folder holds no file that is {_wanted(accepts)} ({suffixes_of(accepts)})")
        for path in paths:
            yield Item(stem_of(path), str(path), accepts, from_folder=True)
    elif os.path.exists(argument):
        yield Item(stem_of(argument), argument, accepts)
    elif any(map(in_words, accepts)) and not modality_of_suffix(argument):
        yield Item(_slug(argument), argument, accepts, is_text=True)
    else:
        raise UserError(f"{argument[:200]}: no such file or folder; give {_wanted(accepts)}")


def _wanted(accepts: tuple[str, ...]) -> str:
    return " or ".join(MODALITIES[modality].noun for modality in accepts)


def _slug(text: str) -> str:
    """A file name for a text: its words, joined by hyphens, no longer than 40 characters."""
    return re.sub(r"[^\w]+", "-", text.lower())[:40].strip("-") or "text"
