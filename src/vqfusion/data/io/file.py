"""Reading and checking of files, and detection of their modality."""

import io
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vqfusion.data.io.tiff_pages import HEADS, is_colour_picture
from vqfusion.errors import UserError
from vqfusion.files import require_allowed
from vqfusion.modalities import MODALITIES

MAX_BYTES = 2**30
OF_SEVERAL = (".npy", ".npz", ".tif", ".tiff")  # suffixes of several modalities: the content tells
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", JP2)
W64 = b"riff\x2e\x91\xcf\x11"


def suffix_of(path: str | Path) -> str:
    """Suffix of a file name in lower case, `.nii.gz` as one."""
    path = Path(path)
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: str | Path) -> str:
    """File name without its suffix."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(path))]


def modality_of_suffix(path: str | Path) -> str | None:
    """Modality by the suffix, of arrays (.npy, .npz) by their number of axes; None for other names."""
    suffix = suffix_of(path)
    if suffix in OF_SEVERAL:
        data = b""  # also of a file that cannot be opened, which is said when it is read
        with suppress(OSError), Path(path).open("rb") as file:
            data = file.read(1024 if suffix == ".npy" else MAX_BYTES)
        return modality_of_bytes(data) or "volume"
    return next((row.name for row in MODALITIES.values() if suffix in row.suffixes), None)


def modality_of_head(path: str | Path) -> str | None:
    """Modality by the first bytes of a file, whatever its name; None where they do not tell."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(4096)
            return modality_of_bytes(head + file.read(MAX_BYTES) if head.startswith((b"PK", *HEADS)) else head)
    except OSError:
        return None


def modality_of_bytes(data: bytes) -> str | None:
    """Modality by the first bytes; None where no supported format starts like this.

    An array of one or two axes is a series, any other a volume; a TIFF file of one picture in colour is a picture.
    """
    if data.startswith(HEADS):
        return "image" if is_colour_picture(data) else "volume"
    if _is_nifti(data):
        return "volume"
    if data.startswith(b"\x93NUMPY"):
        shape = re.search(rb"'shape': \(([^)]*)\)", data[:1024])
        return "series" if shape and len(re.findall(rb"\d+", shape[1])) <= 2 else "volume"
    if data.startswith(b"PK\x03\x04"):
        return _modality_of_arrays(data)
    if data.startswith(b"0" + 7 * b" ") and data[184:192].strip().isdigit():
        return "series"
    inner = data[8:12] if data[:4] in (b"RIFF", b"RF64") else b""
    if data.startswith(PICTURES) or inner == b"WEBP" or re.match(rb"P[2356]\s", data) or _is_avif_or_bmp(data):
        return "image"
    sounds = (b"fLaC", b"OggS", b"ID3", b".snd", b"caff", W64)
    if data.startswith(sounds) or inner == b"WAVE" or (data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC")):
        return "audio"
    if data.startswith(b"\xff\xfe"):  # text in UTF-16, not an MPEG frame of layer I
        return None
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:  # an MPEG frame, if all its fields exist
        version_and_layer = data[1] & 0x18 != 0x08 and data[1] & 0x06 != 0
        rates = data[2] & 0xF0 != 0xF0 and data[2] & 0x0C != 0x0C
        return "audio" if version_and_layer and rates else None
    return None


def _is_avif_or_bmp(data: bytes) -> bool:
    """AVIF by its brand, BMP by the size of its second header."""
    bmp = data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in (12, 40, 52, 56, 64, 108, 124)
    return bmp or (data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"))


def _is_nifti(data: bytes) -> bool:
    """Whether bytes start like a NIfTI file of either version, gzipped or not."""
    if data.startswith(b"\x1f\x8b"):
        try:
            data = zlib.decompressobj(31).decompress(data[:4096], 512)
        except zlib.error:
            return False
    return data[344:348] in (b"n+1\0", b"ni1\0") or data[4:8] in (b"n+2\0", b"ni2\0")


def _modality_of_arrays(data: bytes) -> str | None:
    """Modality of a .npz by its array `data`, or its first one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            names.sort(key=lambda name: name != "data.npy")
            if names:
                with archive.open(names[0]) as member:
                    return modality_of_bytes(member.read(1024))
    except Exception:  # almost any exception on damaged archives; the reader reports it
        return None
    return None


def name_of(source: str | Path | bytes) -> str:
    """Name of a source in messages."""
    return "standard input" if source == "-" or isinstance(source, bytes) else str(source)


@contextmanager
def guarded(source: str | Path | bytes, noun: str) -> Iterator[None]:
    """Context in which the bytes of a file are decoded: whatever goes wrong is one UserError that names the file.

    Args:
        source: The file, "-" or bytes.
        noun: What the file should hold, with its article.
    """
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(name_of(b""), name_of(source), 1)) from None
    except MemoryError:
        raise UserError(f"{name_of(source)}: needs more memory than there is; cut it into parts") from None
    except Exception as error:  # libraries raise almost any exception on damaged files
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{name_of(source)}: damaged, or not {noun} ({reason})") from error


def read_bytes(source: str | Path | bytes) -> bytes:
    """Content of a file, of standard input (`"-"`), or the bytes themselves.

    Raises:
        UserError: The file is missing, unreadable, empty, or larger than 1 GiB.
    """
    if isinstance(source, bytes):
        data = source
    elif source == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        path = Path(source)
        require_allowed(path)
        try:
            if path.is_dir():
                raise UserError(f"{path}: is a folder; give a file")
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file") from None
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not data:
        raise UserError(f"{name_of(source)}: is empty")
    if len(data) > MAX_BYTES:
        raise UserError(f"{name_of(source)}: is over 1 GiB; cut it into parts")
    return data


def holds_none_of(gone: Sequence[str], elsewhere: str) -> tuple[str, ...]:
    """A line that a written format does not hold these things, and which suffix does; none where nothing is gone."""
    named = " and ".join(part for part in (", ".join(gone[:-1]), *gone[-1:]) if part)
    return (f"this format holds no {named}{elsewhere and f'; {elsewhere} does'}",) if gone else ()


def check_target(path: str | Path, suffixes: tuple[str, ...], force: bool) -> Path:
    """Return the path if it may be written.

    Args:
        path: File to write.
        suffixes: Allowed suffixes.
        force: Allow an existing file.

    Returns:
        The path.

    Raises:
        UserError: Wrong suffix, missing folder, or an existing file without `force`.
    """
    path = Path(path)
    if suffix_of(path) not in suffixes:
        found = suffix_of(path) or "a name without suffix"
        raise UserError(f"{path}: cannot write {found} here; use {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; make it first")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give a file")
    if path.exists() and not force:
        raise UserError(f"{path}: exists already; choose another name or force overwriting")
    return path
