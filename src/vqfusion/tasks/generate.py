"""Tasks that generate or describe a picture, and the task from any slots to any slot."""

import os
from collections.abc import Sequence
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.data.io import read
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES, in_words, is_listed
from vqfusion.tasks.task import (
    LABEL_SLOTS,
    ONE,
    TOKENIZERS_ONLY,
    Answer,
    Task,
    named,
    option,
    shown_in,
    task,
    text_slot,
)

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System
    from vqfusion.models.sampling import Sampling
    from vqfusion.tasks.task import Samples
    from vqfusion.types import Sample


@task
@dataclass(frozen=True)
class Imagine(Task):
    """Draw a picture of what a text names."""

    name: ClassVar[str] = "imagine"
    accepts: ClassVar[tuple[str, ...]] = ("text",)
    gives: ClassVar[str] = "image"
    language: str = option("en", "language of the text")
    style: str | None = option(
        None, "drawing style, see `vqfusion doctor`; default: one in which the name was drawn, by the seed"
    )

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        given: dict[str, Any] = {text_slot(system, self.language): sample}
        if self.style is None:
            given, lines = shown_in(system, given, "image", "style", sampling.seed)
            return self.generate(system, given, "image", sampling, warnings=lines)
        given["style"] = named(system, "style", self.style)
        return self.generate(system, given, "image", sampling)


@task
@dataclass(frozen=True)
class Describe(Task):
    """Say in words what a picture shows."""

    name: ClassVar[str] = "describe"
    accepts: ClassVar[tuple[str, ...]] = ("image",)
    gives: ClassVar[str] = "text"
    language: str = option("en", "language to describe it in")

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        return self.generate(system, {"image": sample}, text_slot(system, self.language), sampling)


@task
@dataclass(frozen=True)
class AnyToAny(Task):
    """Go from any slots to any other."""

    name: ClassVar[str] = "any"
    accepts: ClassVar[tuple[str, ...]] = ()
    gives: ClassVar[str] = ""
    target: str = option(MISSING, "the slot to ask for: image, audio, text:de, label, ...")
    given: "tuple[str | tuple[str, Sample], ...]" = option(
        (), "what is given, as slot=file or slot=text; repeat for more slots", place="slots"
    )

    @property
    def result(self) -> str:
        """Modality of the target slot."""
        return modality_of(self.target)

    def __call__(self, system: "System", sample: "Samples", sampling: "Sampling" = ONE) -> Answer:
        given = read_given(system, self.given)
        if is_listed(self.result):
            return self.distribute(system, given, self.target)
        return self.generate(system, given, self.target, sampling)


def read_given(
    system: "System", parts: "Sequence[str | tuple[str, Sample]]", folder: str | None = None
) -> "dict[str, Sample]":
    """Samples by slot, from pairs of both or from `slot=value`: a value that is an existing file, or `-`, is read.

    Args:
        system: The model.
        parts: What is given.
        folder: Where relative files are; None for the working directory.

    Returns:
        A sample for each slot.

    Raises:
        UserError: No such slot or name, a slot that is given twice, or a file that cannot be read.
    """
    given: dict[str, Sample] = {}
    for part in parts:
        slot, sample = _read(system, part, folder)
        if slot in given:
            raise UserError(f"slot {slot!r} is given twice; give each slot once")
        given[slot] = sample
    return given


def _read(system: "System", part: "str | tuple[str, Sample]", folder: str | None) -> "tuple[str, Sample]":
    from vqfusion.data.io.text import as_text

    slot, separator, value = part.partition("=") if isinstance(part, str) else (part[0], "=", part[1].data)
    if isinstance(part, str) and not (separator and value):
        raise UserError(f"--given {part!r} is not slot=file or slot=text, as in --given text:en=broccoli")
    if slot not in system.slots:
        known = ", ".join(system.slots) or TOKENIZERS_ONLY
        raise UserError(f"slot {slot!r} is not one this model has; it has {known}")
    modality = modality_of(slot)
    if is_listed(modality):
        return slot, named(system, slot, value)
    if not isinstance(part, str):
        if part[1].modality != modality:
            raise UserError(f"slot {slot!r} takes {MODALITIES[modality].noun}, not {part[1].modality}")
        return part
    path = value if folder is None or value == "-" else os.path.join(folder, value)
    if in_words(modality) and value != "-" and not os.path.isfile(path):
        return slot, as_text(value)
    return slot, read(path, modality)


def modality_of(slot: str) -> str:
    """Modality of a slot: text for `text:de`, image for `image@16`, label for labels, speakers and styles."""
    head = slot.partition(":")[0].partition("@")[0]
    return "label" if head in LABEL_SLOTS else head
