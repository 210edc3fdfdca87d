"""Files <-> `Sample`, whatever the modality."""

import importlib
from pathlib import Path

from vqfusion.data.io.file import SUFFIXES, modality_of_bytes, modality_of_suffix, name_of, read_bytes
from vqfusion.errors import UserError

_HOME = {
    "image": "picture", "audio": "sound", "text": "text", "label": "text", "volume": "volume", "series": "series",
}  # fmt: skip

KEEPING = ("image", "volume", "series")


def _function(verb: str, modality: str):
    module = importlib.import_module(f"{__name__}.{_HOME[modality]}")
    return getattr(module, f"{verb}_{_HOME[modality]}")


def read(path: str | Path, modality: str | None = None, keep: bool = False):
    """The `Sample` in a file, or in standard input if `path` is `"-"`.

    Without `modality` ("image", "audio", "text", "volume" or "series") the first bytes decide, whatever the suffix
    says; where they say nothing the suffix decides, and standard input counts as text. With `keep` pictures come with
    their `extras`, and what is missing in volumes and series is NaN.

    Raises UserError for a file that is missing, empty, broken or of no supported kind.
    """
    if modality not in (None, *SUFFIXES):
        raise UserError(f"cannot read {modality!r} from a file: the modality is one of {', '.join(SUFFIXES)}")
    data = read_bytes(path)
    found = modality or modality_of_bytes(data) or ("text" if path == "-" else modality_of_suffix(path))
    if found is None:
        known = ", ".join(dict.fromkeys(suffix for suffixes in SUFFIXES.values() for suffix in suffixes))
        raise UserError(f"{path}: of no supported kind; use {known}")
    try:
        return _function("read", found)(data, **({"keep": True} if keep and found in KEEPING else {}))
    except UserError as error:
        raise UserError(str(error).replace(name_of(data), name_of(path), 1)) from None


def write(sample, path: str | Path, force: bool = False) -> None:
    """Write a `Sample` in the format of the suffix.

    Pictures .png .jpg .webp, sounds .wav .flac .ogg, texts and labels .txt, volumes .nii.gz .nii .tif .npy .npz,
    series .csv .npy .npz.

    Raises UserError if the file exists and not `force`, or the suffix does not fit.
    """
    if sample.modality not in _HOME:
        raise UserError(f"cannot write {sample.modality!r} to a file: write one of {', '.join(_HOME)}")
    _function("write", sample.modality)(sample, path, force)
