"""File names and writing: which names are allowed, and writing that is atomic.

Every file that vqfusion makes is written by `write_bytes` or inside `new_file`. Torch-free.
"""

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from vqfusion.errors import UserError

PREFIX, SUFFIX = ".vqfusion-", ".part"
LONGEST_NAME = 255  # bytes, on the usual file systems
NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')  # invalid on some system, or a path separator
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # devices on Windows


def plain_name(name: str) -> str:
    """Return `name` if it may be part of a file name inside a folder of the package.

    Raises:
        ValueError: It could lead out of the folder or is not valid on every system: separators, a leading dot, control
            characters, device names, more than 100 bytes.
    """
    if not name.strip() or name.startswith(".") or name != name.strip():
        raise ValueError(f"{name[:40]!r} is no plain name: it must not be empty, begin with a dot or end in a space")
    if found := NOT_IN_NAMES.search(name):
        raise ValueError(f"{name[:40]!r} is no plain name: leave out {found[0]!r}")
    if RESERVED.match(name) or len(os.fsencode(name)) > 100:
        raise ValueError(f"{name[:40]!r} is no plain name: choose another of up to 100 bytes")
    return name


_CONFINED: ContextVar[Path | None] = ContextVar("confined", default=None)


@contextmanager
def confined(folder: Path) -> Iterator[None]:
    """Context in which samples are read from, and files written to, this folder only, whatever a stranger named."""
    token = _CONFINED.set(folder.resolve())
    try:
        yield
    finally:
        _CONFINED.reset(token)


def require_allowed(path: str | Path) -> None:
    """Raise UserError where a `confined` context does not allow this file."""
    folder = _CONFINED.get()
    if folder is not None and not Path(path).resolve().is_relative_to(folder):
        raise UserError(f"{path}: is the name of a file, which is not read here; give its content")


def write_bytes(path: str | Path, data: bytes, overwrite: bool = True) -> None:
    """Write all of `data` to `path`, or nothing; see `new_file`."""
    with new_file(path, overwrite) as part:
        part.write_bytes(data)


@contextmanager
def new_file(path: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """Context with a new, empty file beside `path`, which replaces it when the block ends without error.

    Until then `path` is unchanged, and after an error nothing is left. The content is on disk before the name is; the
    permissions of a replaced file are kept. A link at `path` is replaced, not followed.

    Args:
        path: File to make; its folder is created where it is missing.
        overwrite: False rejects a file that is at `path` when the block ends, even one that appeared meanwhile.

    Yields:
        The temporary file to write to.

    Raises:
        UserError: The file exists and `overwrite` is False, or the disk, the folder or the name do not allow writing.
    """
    path = Path(path)
    part: Path | None = None
    require_allowed(path)
    make_folder(path.parent)
    try:
        handle, name = tempfile.mkstemp(SUFFIX, PREFIX, path.parent)
        part = Path(name)
        os.close(handle)
        yield part
        _settle(part, _mode_for(path))
        if overwrite:
            os.replace(part, path)
        else:
            _place_without_overwriting(part, path)
        _sync_folder(path.parent)
    except FileExistsError:
        raise UserError(f"{path}: exists already; choose another name or force overwriting") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing; UserError where it cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file is in the way" if isinstance(error, FileExistsError) else error.strerror
        raise UserError(f"{folder}: the folder cannot be made ({reason}); choose another") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: the folder cannot be written to; choose another")


def cache_folder() -> Path:
    """Folder for what can be made again: `$XDG_CACHE_HOME/vqfusion` or `~/.cache/vqfusion`; it may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vqfusion"


def own_folder(folder: Path) -> Path:
    """Create a folder for the user alone, for programs that are stored there and run again.

    Raises:
        UserError: Others could put a file there, see `require_own`.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return require_own(folder, "XDG_CACHE_HOME")


def require_own(folder: Path, variable: str) -> Path:
    """Check that nobody else can put a file into a folder.

    Args:
        folder: Existing folder.
        variable: Environment variable that moves the folder, for the message.

    Returns:
        The folder.

    Raises:
        UserError: It, or a folder above it, belongs to a user other than this one and root, or is world-writable.
    """
    if not hasattr(os, "getuid"):
        return folder
    for place in (folder.resolve(), *folder.resolve().parents):
        found = place.stat()
        if found.st_uid not in (0, os.getuid()):
            raise UserError(f"{place}: belongs to another user; set {variable} to a folder of your own")
        kept = found.st_mode & stat.S_ISVTX and place != folder.resolve()  # as in /tmp: others cannot replace files
        if found.st_mode & stat.S_IWOTH and not kept:
            raise UserError(f"{place}: everybody may write to it; `chmod o-w {place}`, or set {variable} elsewhere")
    return folder


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files of killed writers in a folder to which nobody else writes."""
    for part in folder.glob(f"{PREFIX}*{SUFFIX}"):
        with suppress(OSError):
            part.unlink()


def _mode_for(path: Path) -> int:
    """Permissions of the file at `path`, or those of a new file."""
    if path.is_file() and not path.is_symlink():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _settle(part: Path, mode: int) -> None:
    """Set permissions and write the content to disk."""
    part.chmod(mode)
    with part.open("rb") as file:
        os.fsync(file.fileno())


def _place_without_overwriting(part: Path, path: Path) -> None:
    """Rename `part` to `path`; FileExistsError where anything exists there, also a broken link."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links: the name is claimed first
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(part, path)


def _sync_folder(folder: Path) -> None:
    """Write the new name to disk, where the system supports it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
