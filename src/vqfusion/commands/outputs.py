"""Paths of results, planned and checked before any work."""

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from vqfusion.data.io.file import stem_of, suffix_of
from vqfusion.errors import UserError
from vqfusion.files import make_folder, write_bytes
from vqfusion.modalities import MODALITIES, PRINTED

STANDARD_OUTPUT = "-"
SUFFIXES = {name: row.written for name, row in MODALITIES.items()} | {"codes": (".vqf",)}


def plan(
    names: Sequence[str],
    modality: str,
    task: str,
    output: str | None,
    samples: int,
    folder: bool,
    force: bool,
    suffix: str | None = None,
) -> list[list[Path]]:
    """Path of every result, `[item][k]`; empty where results are printed.

    Without `output`, pictures and sounds are written to `<name>.<task>.png` or `.wav` in the current folder, codes to
    `<name>.vqf`.

    Args:
        names: Name of each item.
        modality: Modality of the results, or "codes".
        task: Name of the task.
        output: File or folder.
        samples: Results for each item.
        folder: Whether `output` must be a folder.
        force: Overwrite existing files.
        suffix: Suffix of default names, which is also allowed.

    Returns:
        The paths.

    Raises:
        UserError: A path exists (unless `force`), cannot be written, would be written twice, or has a wrong suffix.
    """
    if modality not in SUFFIXES:
        raise UserError(f"{task}: cannot make {modality!r}; ask for a slot of {', '.join(SUFFIXES)}")
    allowed = tuple(dict.fromkeys((*SUFFIXES[modality], *((suffix,) if suffix else ()))))
    suffix = suffix or SUFFIXES[modality][0]
    if output is None:
        if modality in PRINTED:
            return []
        plain = {task} if modality != "codes" else set(names)
        first = [Path(f"{name}{suffix}" if name in plain else f"{name}.{task}{suffix}") for name in names]
    elif folder or output.endswith(("/", os.sep)) or os.path.isdir(output):
        if suffix_of(output) in allowed and not os.path.isdir(output):
            raise UserError(f"{output}: names one file, and several inputs or a folder need a folder as -o/--output")
        first = [Path(output) / f"{name}{suffix}" for name in names]
    else:
        first = [Path(output)]
        if suffix_of(first[0]) not in allowed:
            raise UserError(f"{output}: the name must end in {', '.join(allowed)}")
    count = 1 if modality in PRINTED else samples
    paths = [[beside(path, str(k + 1)) for k in range(count)] if count > 1 else [path] for path in first]
    check([path for row in paths for path in row], force)
    return paths


@contextmanager
def destination(output: str | None, as_json: bool) -> Iterator[str | None]:
    """Context with the destination of the results of a command: `output`, or for `-` a temporary folder.

    The file in the temporary folder goes to standard output when the block ends; other output of the command is
    suppressed.

    Args:
        output: The option `--output`.
        as_json: The option `--json`.

    Yields:
        The destination.

    Raises:
        UserError: Both `-` and `--json`, which need standard output.
    """
    if output != STANDARD_OUTPUT:
        yield output
        return
    if as_json:
        raise UserError("-o - and --json: both write to standard output; leave one out")
    with tempfile.TemporaryDirectory(prefix="vqfusion-") as folder:
        with redirect_stdout(io.StringIO()):
            yield folder + os.sep
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                sys.stdout.flush()
                sys.stdout.buffer.write(path.read_bytes())
                sys.stdout.buffer.flush()


def named(place: str | None, name: str) -> Path:
    """File of a `destination`: with this name where it is a folder or not given."""
    if place is None:
        return Path(name)
    return Path(place, name) if place.endswith(os.sep) else Path(place)


def check_single(output: str | None, paths: Sequence[Path]) -> None:
    """Raise UserError where several files, or none, would go to standard output."""
    if output == STANDARD_OUTPUT and len(paths) != 1:
        raise UserError(f"-o -: takes one result, not {len(paths)}; give a folder as -o/--output")


def beside(path: Path, what: str) -> Path:
    """Path with an addition to its name: `photo.png` and `lower` make `photo-lower.png`."""
    stem = stem_of(path)
    return path.with_name(f"{stem}-{what}{path.name[len(stem) :]}")


def check(paths: Sequence[Path], force: bool) -> None:
    """Raise UserError for the first path that would be overwritten, written twice, or cannot be written."""
    seen: set[Path] = set()
    for path in paths:
        if path in seen:
            raise UserError(f"{path}: two inputs would be written to this file; give them different names")
        if path.is_dir():
            raise UserError(f"{path}: is a folder; give the name of a file")
        if os.path.lexists(path) and not force:
            raise UserError(f"{path}: exists already; choose another -o/--output or add --force")
        seen.add(path)
    for parent in dict.fromkeys(path.parent for path in paths):
        make_folder(parent)


def write_json(path: Path, content: Any, overwrite: bool = True) -> None:
    """Write JSON atomically."""
    write_bytes(
        path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode(errors="backslashreplace"), overwrite
    )
