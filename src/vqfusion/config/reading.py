"""How the data of a training are read: what columns and folders mean, and what must not be divided by a split."""

import re
from typing import Annotated

from pydantic import AfterValidator

from vqfusion.config.base import Config, later
from vqfusion.files import plain_name
from vqfusion.modalities import SIGNALS, in_words

ROLES = ("key", "split")  # of a column that is no slot


def slot_meant(value: str | None) -> str | None:
    """Slot or role that the right side of `columns:` names; ValueError where it is none.

    `text` is `text:en`; any name that is no modality is a label slot of that name.
    """
    if value is None or value in ROLES:
        return value
    kind = value.split("@")[0]
    modality, _, language = kind.partition(":")
    if modality in SIGNALS and not language:
        return value
    if in_words(modality):
        return f"{modality}:{language or 'en'}"
    if ":" in value or "@" in value or kind == "length" or not re.fullmatch(r"[^\W\d][\w-]*", value):
        raise ValueError(
            f"{value!r} is no slot; write {', '.join(SIGNALS)}, text:xx (xx a language), key, split, null (not used), "
            "or a name such as label, speaker or emotion for a slot of names"
        )
    return plain_name(value)


def _levels(value: str) -> str:
    for level in value.split("/"):
        meant = slot_meant(level)
        if meant in SIGNALS or (meant and in_words(meant.partition(":")[0])):
            raise ValueError(f"{level!r} cannot be the name of a folder; write label, speaker, split or another name")
    return value


def _pattern(value: str) -> str:
    if not re.search(r"\{[^{}]+\}", value) or value.count("{") != value.count("}"):
        raise ValueError(f"{value!r} has no part in braces; write what a file name is made of, as in '{{label}}_{{}}'")
    return value


Meant = Annotated[str | None, AfterValidator(slot_meant)]


class ReadingConfig(Config):
    """What the parts of a data set mean, where their names do not say it.

    Attributes:
        columns: Slot of each column of a table: `{sentence: text:en, mood: emotion}`; columns that are left out are not
            used. Without it, columns are called as their slots.
        folders: What the names of the folders are, from the top, such as `label`, `speaker` or `split/label`.
        files: What the names of the files are made of, such as `{digit}_{speaker}_{}`; `{}` is a part without meaning.
        group: Column or slot whose records are never divided by the split, such as `speaker`, `patient` or `site`.
    """

    columns: dict[str, Meant] = later({})
    folders: Annotated[str, AfterValidator(_levels)] | None = later(None)
    files: Annotated[str, AfterValidator(_pattern)] | None = later(None)
    group: str | None = later(None)

    @property
    def reading(self) -> "ReadingConfig":
        """These settings alone, of a config that has others too."""
        return ReadingConfig(columns=self.columns, folders=self.folders, files=self.files, group=self.group)
