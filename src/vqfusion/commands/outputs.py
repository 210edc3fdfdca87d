"""Where results go: planned, and refused before any work."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vqfusion.data.io.file import stem_of, suffix_of
from vqfusion.errors import UserError
from vqfusion.files import make_folder, write_bytes
from vqfusion.modalities import MODALITIES, PRINTED

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
    """The path of every result, `[item][k]`; empty where the results go to the terminal.

    Without `output`, pictures and sounds go to `<name>.<task>.png` or `.wav` in the current folder, codes to
    `<name>.vqf`; `suffix` is another end of the names that are not given. `folder`
    says that `output` must be one. UserError where a path exists (unless `force`), cannot be written, would
    be written twice, or has a suffix that does not fit.
    """
    if modality not in SUFFIXES:
        raise UserError(f"{task}: cannot make {modality!r}; ask for a slot of {', '.join(SUFFIXES)}")
    suffix = suffix or SUFFIXES[modality][0]
    if output is None:
        if modality in PRINTED:
            return []
        plain = {task} if modality != "codes" else set(names)
        first = [Path(f"{name}{suffix}" if name in plain else f"{name}.{task}{suffix}") for name in names]
    elif folder or output.endswith(("/", os.sep)) or os.path.isdir(output):
        first = [Path(output) / f"{name}{suffix}" for name in names]
    else:
        first = [Path(output)]
        if suffix_of(first[0]) not in SUFFIXES[modality]:
            raise UserError(f"{output}: the name must end in {', '.join(SUFFIXES[modality])}")
    count = 1 if modality in PRINTED else samples
    paths = [[beside(path, str(k + 1)) for k in range(count)] if count > 1 else [path] for path in first]
    check([path for row in paths for path in row], force)
    return paths


def beside(path: Path, what: str) -> Path:
    """`photo.png` and `lower` as `photo-lower.png`."""
    stem = stem_of(path)
    return path.with_name(f"{stem}-{what}{path.name[len(stem) :]}")


def check(paths: Sequence[Path], force: bool) -> None:
    """UserError for the first path that would be overwritten, written twice, or cannot be written."""
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
    """Write JSON, whole or not at all."""
    write_bytes(
        path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode(errors="backslashreplace"), overwrite
    )
