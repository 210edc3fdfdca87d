"""A model as one zip file: written from a folder, and unpacked with every name and size checked. Torch-free."""

import errno
import hashlib
import os
import stat
import tempfile
import zipfile
from pathlib import Path

from vqfusion.errors import UserError
from vqfusion.files import cache_folder, new_file, own_folder, plain_name
from vqfusion.limits import MODEL

SUFFIX = ".zip"
CONTENT = (".json", ".safetensors", ".txt", ".md", ".tsv", "")  # "": LICENSE, NOTICE
MOST_FILES = 256
DATE = (1980, 1, 1, 0, 0, 0)  # the same model makes the same bytes
CHUNK = 2**20


def pack(folder: Path, path: Path, overwrite: bool = False) -> None:
    """Write all files of a folder to a zip; equal files make equal bytes.

    Args:
        folder: Folder of a model, without folders inside.
        path: Zip file to make.
        overwrite: Replace an existing file.

    Raises:
        UserError: The file exists and `overwrite` is False, or cannot be written.
    """
    with new_file(path, overwrite) as part, zipfile.ZipFile(part, "w") as archive:
        for source in sorted(one for one in folder.iterdir() if one.is_file()):
            entry = zipfile.ZipInfo(source.name, DATE)
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            # weights do not get smaller by more than a tenth, and take a while
            stored = source.suffix == ".safetensors"
            entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            entry.file_size = source.stat().st_size
            with source.open("rb") as file, archive.open(entry, "w") as target:
                while chunk := file.read(CHUNK):
                    target.write(chunk)


def unpacked(path: Path) -> Path:
    """Folder with the content of a zip that `pack` wrote, in the cache of the user.

    It is unpacked once for each content: the folder is named after the hash of the zip. Nothing is written outside it.

    Args:
        path: The zip.

    Returns:
        The folder.

    Raises:
        UserError: The file is missing or damaged, is over the limits, or holds anything but plain files of a model.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    place = own_folder(store()) / digest / _plain_stem(path)
    if place.is_dir():
        return place
    if place.parent.is_dir():  # the same content under another name
        return next(one for one in sorted(place.parent.iterdir()) if one.is_dir())
    with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=store()) as room:
        content = Path(room, "content", place.name)
        content.mkdir(parents=True)
        _unpack(path, content)
        try:
            os.rename(content.parent, place.parent)
        except OSError:
            if not place.parent.is_dir():  # another process was faster where it is
                raise
    return next(one for one in sorted(place.parent.iterdir()) if one.is_dir())


def store() -> Path:
    """Folder in the user's cache for the content of zips; it may not exist yet."""
    return cache_folder() / "models"


def _plain_stem(path: Path) -> str:
    """Name of the zip without its suffix, where it may name a folder."""
    try:
        return plain_name(path.stem)
    except ValueError:
        return "model"


def _unpack(path: Path, folder: Path) -> None:
    """Write every entry of a zip to a folder, after all of them were checked."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check(path, entries)
            for entry in entries:
                with archive.open(entry) as source, (folder / entry.filename).open("xb") as target:
                    while chunk := source.read(CHUNK):
                        target.write(chunk)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # in a damaged zip almost any, by each of its ways of compression
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # of the disk that is written to
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path}: not a readable zip ({reason or type(error).__name__}); copy it again") from None


def _check(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Raise UserError unless the entries are a few plain files of a model within the limits."""
    mend = "make it by `vqfusion models export`"
    if len(entries) > MOST_FILES:
        raise UserError(f"{path}: holds {len(entries)} files, more than the {MOST_FILES} of any model; {mend}")
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        kind = stat.S_IFMT(entry.external_attr >> 16)
        try:
            plain_name(name)
        except ValueError as error:
            raise UserError(f"{path}: {error}; {mend}") from None
        if Path(name).suffix.lower() not in CONTENT or kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
            raise UserError(f"{path}: {name[:60]!r} is not a file that a model consists of; {mend}")
        if name.casefold() in seen:
            raise UserError(f"{path}: {name[:60]!r} is in it twice; {mend}")
        seen.add(name.casefold())
    if "config.json" not in seen:
        raise UserError(f"{path}: holds no vqfusion model (no config.json at its top); {mend}")
    MODEL.require(sum(entry.file_size for entry in entries), str(path))
