"""One request as it was asked: a function, its options, and contents, nothing of which is the name of anything here."""

from dataclasses import dataclass, field
from typing import BinaryIO

from vqfusion.data.io.file import suffix_of
from vqfusion.modalities import MODALITIES
from vqfusion.web.functions import Common, Function

SUFFIXES = {suffix for row in MODALITIES.values() for suffix in (*row.suffixes, *row.written)}


@dataclass(frozen=True)
class Content:
    """A text, or the content of a file.

    Attributes:
        text: The text; None for a file.
        file: The content of a file, or an open one that holds it.
        suffix: Suffix of its name where that is known here, else "": all that is taken from the name.
    """

    text: str | None = None
    file: bytes | BinaryIO = b""
    suffix: str = ""

    @classmethod
    def of_file(cls, file: bytes | BinaryIO, name: str) -> "Content":
        """Content of a file with this name, which is used for its suffix only."""
        suffix = suffix_of(name[-60:].replace("\x00", ""))
        return cls(file=file, suffix=suffix if suffix in SUFFIXES else "")

    def read(self) -> bytes:
        """The bytes of the file, or of the text in UTF-8."""
        if self.text is not None:
            return self.text.encode(errors="replace")
        if isinstance(self.file, bytes):
            return self.file
        self.file.seek(0)
        return self.file.read()


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        function: What is asked for.
        options: Values of its options.
        inputs: Its inputs.
        files: Content of the options that are files.
        slots: Contents by slot.
        preview: Whether the answer holds HTML that shows the inputs and results.
    """

    function: Function
    options: Common
    inputs: list[Content] = field(default_factory=list)
    files: dict[str, Content] = field(default_factory=dict)
    slots: dict[str, Content] = field(default_factory=dict)
    preview: bool = False
