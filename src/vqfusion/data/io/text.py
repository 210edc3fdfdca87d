"""UTF-8 text files <-> `Sample("text")`."""

from pathlib import Path

from vqfusion.data.io.file import check_target, name_of, read_bytes
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

MAX_CHARACTERS = 100_000


def read_text(source: str | Path | bytes) -> Sample:
    """Text of a file, of standard input (`"-"`), or of bytes, without surrounding white space and byte order mark.

    Raises:
        UserError: The file is missing, empty, blank, not UTF-8, or longer than 100,000 characters.
    """
    data, name = read_bytes(source), name_of(source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is not UTF-8 text (byte {error.start}); convert it to UTF-8") from None
    if "\0" in text:
        raise UserError(f"{name}: is not text (it holds a zero byte at character {text.index(chr(0))})")
    text = text.replace("\r\n", "\n").strip()
    if not text:
        raise UserError(f"{name}: holds only white space")
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"{name}: has {len(text):,} characters, over the limit of {MAX_CHARACTERS:,}; cut it")
    return Sample("text", text)


def as_text(value: str) -> Sample:
    """Text from the command line, without surrounding white space; UserError where it is blank or not UTF-8."""
    if not value.strip():
        raise UserError("the text is empty; give at least one word")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserError("the text is not valid UTF-8; check the locale of the terminal") from None
    return Sample("text", value.strip())


def write_text(sample: Sample, path: str | Path, force: bool = False) -> None:
    """Write a text or a label as UTF-8 with a line end.

    Args:
        sample: The sample.
        path: File to write.
        force: Overwrite an existing file.

    Raises:
        UserError: The file exists and `force` is not set, or the suffix is not .txt.
    """
    path = check_target(path, MODALITIES["text"].written, force)
    write_bytes(path, f"{sample.data}\n".encode(), force)
