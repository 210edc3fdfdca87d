"""Files <-> `Sample`, for every modality."""

from pathlib import Path
from typing import Any

from vqfusion.data.io.file import guarded, modality_of_bytes, modality_of_suffix, read_bytes
from vqfusion.errors import UserError
from vqfusion.modalities import FILES, MODALITIES, imported, suffixes_of

_HOME = {row.partition(":")[2]: row for one in MODALITIES.values() for row in (one.reader, one.writer)}
__all__ = ["modality_of_bytes", "modality_of_suffix", "read", "write", *_HOME]


def read(path: str | Path, modality: str | None = None, keep: bool = False):
    """Read the `Sample` in a file.

    Args:
        path: File; "-" is standard input.
        modality: "image", "audio", "text", "volume" or "series". None decides by the first bytes, whatever the suffix
            says, then by the suffix; standard input then counts as text.
        keep: Also keep what is needed to write the file back: pictures and sounds get `extras`, sounds keep all
            channels, and missing values of volumes and series are NaN.

    Returns:
        The sample.

    Raises:
        UserError: The file is missing, empty, damaged or of no supported kind.
    """
    if modality not in (None, *FILES):
        raise UserError(f"cannot read {modality!r} from a file: the modality is one of {', '.join(FILES)}")
    data = read_bytes(path)
    found = modality or modality_of_bytes(data) or ("text" if path == "-" else modality_of_suffix(path))
    if found is None:
        raise UserError(f"{path}: of no supported kind; use {suffixes_of(FILES)}")
    with guarded(path, MODALITIES[found].noun):
        return MODALITIES[found].read(data, keep)


def write(sample: Any, path: str | Path, force: bool = False) -> tuple[str, ...]:
    """Write a `Sample` in the format of the suffix.

    Pictures .png .jpg .webp .tif .bmp .avif .jp2 .ppm, sounds .wav .flac .ogg .opus .mp3 .aiff .w64 .au .caf, texts
    and labels .txt, volumes .nii.gz .nii .tif .npy .npz, series .csv .npy .npz.

    Args:
        sample: The sample.
        path: File to write.
        force: Overwrite an existing file.

    Returns:
        One line for everything that the format cannot hold.

    Raises:
        UserError: The file exists and `force` is not set, or the suffix does not fit.
    """
    if sample.modality not in MODALITIES:
        raise UserError(f"cannot write {sample.modality!r} to a file: write one of {', '.join(MODALITIES)}")
    try:
        return MODALITIES[sample.modality].write(sample, path, force)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # libraries raise almost any exception on what a damaged file said of itself
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise UserError(f"{path}: cannot be written as this kind of file ({reason}); choose another suffix") from error


def __getattr__(name: str) -> Any:
    """Readers and writers of one modality, such as `read_picture`, loaded when first used."""
    if name in _HOME:
        return imported(_HOME[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
