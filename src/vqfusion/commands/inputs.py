"""INPUTS on the command line, as items that are read one by one."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vqfusion.commands.say import say
from vqfusion.data.io import modality_of_suffix, read
from vqfusion.data.io.file import modality_of_head, stem_of, suffix_of
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, in_words, suffixes_of

if TYPE_CHECKING:
    from vqfusion.types import Sample

CODES = "codes"  # what `decode` accepts: .vqf files
LISTED = 8  # file names in one message


@dataclass(frozen=True)
class Item:
    """One input: a file (`-` is standard input) or the `text` itself.

    Attributes:
        name: Name of its results, with the sub-folder where it was found in one.
        source: Path or text.
        accepts: Modalities that it may have.
        is_text: Whether `source` is the text itself.
        from_folder: Whether it was found in a folder, so that its results belong in one too.
    """

    name: str
    source: str
    accepts: tuple[str, ...]
    is_text: bool = False
    from_folder: bool = False

    def read(self, keep: bool = False) -> "Sample":
        """Read the sample; `keep` as in `data.io.read`.

        Raises:
            UserError: The file is unreadable or of another kind, or the text is empty.
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
        """Modality of the file by its first bytes, or else by its name; UserError where the task does not accept it."""
        found = modality_of_head(self.source) or modality_of_suffix(self.source)
        if found not in self.accepts:
            holds = f"holds {MODALITIES[found].noun}" if found else "is of no supported kind"
            raise UserError(f"{self.source}: {holds}; give {_wanted(self.accepts)} ({suffixes_of(self.accepts)})")
        return found


@dataclass(frozen=True)
class Inputs:
    """Items in the order of the arguments, and files in folders that are of other kinds."""

    items: list[Item]
    left_out: list[str]

    @property
    def are_many(self) -> bool:
        """Whether results need a folder."""
        return len(self.items) > 1 or any(item.from_folder for item in self.items)

    def say(self, as_json: bool) -> None:
        """Print the files that are left out in one line; with `as_json` they are part of the report instead."""
        if self.left_out and not as_json:
            wanted = _wanted(self.items[0].accepts)
            say(f"left out, not {wanted}: {_listed(self.left_out)}")


def collect(arguments: Sequence[str], accepts: tuple[str, ...], made: Sequence[str | None] = ()) -> Inputs:
    """Items of the arguments in order; folders contribute their files at all levels, in alphabetical order.

    Args:
        arguments: Files, folders, `-`, or texts. A text must not be the name of a file or end like one.
        accepts: Accepted modalities.
        made: Folders with results of earlier calls, which are not inputs.

    Returns:
        The items, and the files left out.
    """
    items: list[Item] = []
    left_out: list[str] = []
    for argument in arguments:
        if argument != "-" and os.path.isdir(argument):
            fitting, others = _in_folder(argument, accepts, made)
            items += fitting
            left_out += others
        else:
            items.append(_item(argument, accepts))
    return Inputs(_apart(items), left_out)


def files_in(folder: str | Path, made: Sequence[str | None] = ()) -> list[Path]:
    """Files of a folder at all levels in alphabetical order, without hidden files and the folders `made`."""
    root = Path(folder)
    skipped = {Path(one).resolve() for one in made if one} - {root.resolve()}
    found = []
    for place, folders, names in os.walk(root, onerror=_unreadable):
        folders[:] = [
            name for name in folders if not name.startswith(".") and Path(place, name).resolve() not in skipped
        ]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename}: the folder cannot be read ({error.strerror})")


def _in_folder(folder: str, accepts: tuple[str, ...], made: Sequence[str | None]) -> tuple[list[Item], list[str]]:
    fitting, others = [], []
    for path in files_in(folder, made):
        if _kind(path) in accepts:
            name = path.relative_to(folder).with_name(stem_of(path)).as_posix()
            fitting.append(Item(name, str(path), accepts, from_folder=True))
        else:
            others.append(str(path))
    if not fitting:
        holds = f"; it holds {_listed(others)}" if others else ""
        wanted = ".vqf file" if accepts == (CODES,) else f"file that is {_wanted(accepts)} ({suffixes_of(accepts)})"
        raise UserError(f"{folder}: the folder holds no {wanted}{holds}")
    return fitting, others


def _item(argument: str, accepts: tuple[str, ...]) -> Item:
    if argument == "-":
        return Item("stdin", argument, accepts)
    if os.path.exists(argument):
        return Item(stem_of(argument), argument, accepts)
    if any(map(in_words, accepts)) and not modality_of_suffix(argument):
        return Item(_slug(argument), argument, accepts, is_text=True)
    raise UserError(f"{argument[:200]}: no such file or folder; give {_wanted(accepts)}")


def _apart(items: Sequence[Item]) -> list[Item]:
    """Names of results that do not collide.

    Equal names get the suffix of the file (`small-jpg`, `small-png`); those that are still equal get the folders in
    which their files differ (`monday/small`, `tuesday/small`).
    """
    ends = {item: "" if item.is_text else suffix_of(item.source).replace(".", "-") for item in items}
    kinds = Counter(name for name, _ in {(item.name, end) for item, end in ends.items()})
    named = [replace(item, name=item.name + ends[item]) if kinds[item.name] > 1 else item for item in items]
    places: dict[str, set[str]] = {}
    for item in named:
        if not item.is_text and item.source != "-":
            places.setdefault(item.name, set()).add(_root(item))
    return [_in_own_folder(item, places.get(item.name, set())) for item in named]


def _root(item: Item) -> str:
    """Folder below which the name of an item is a path."""
    return os.path.abspath(Path(item.source).parents[item.name.count("/")])


def _in_own_folder(item: Item, places: set[str]) -> Item:
    """The item with its folder in its name, where others of this name are in other folders."""
    if len(places) < 2 or item.is_text or item.source == "-":
        return item
    own = os.path.relpath(_root(item), os.path.commonpath(places))
    return replace(item, name=(Path(own) / item.name).as_posix())


def _kind(path: Path) -> str | None:
    return CODES if suffix_of(path) == ".vqf" else modality_of_suffix(path)


def _wanted(accepts: tuple[str, ...]) -> str:
    return " or ".join("a .vqf file" if one == CODES else MODALITIES[one].noun for one in accepts)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    return ", ".join(paths[:LISTED]) + more


def _slug(text: str) -> str:
    """File name for a text: its words joined by hyphens, at most 40 characters."""
    return re.sub(r"[^\w]+", "-", text.lower())[:40].strip("-") or "text"
