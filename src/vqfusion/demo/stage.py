"""What all sections of the demo share: the choice of items, and the parts of a section."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from vqfusion.evaluate.bench import Bench

if TYPE_CHECKING:
    from vqfusion.data import Record
    from vqfusion.models.restoration.prior import Prior

SHOWN_LANGUAGES = ("en", "de", "ru", "ar", "ja", "zh", "hi", "fr")


@dataclass(frozen=True)
class Section:
    """One task on a few items.

    Attributes:
        title: Heading.
        about: Introduction.
        command: Command that does the same.
        body: Content as HTML.
        items: Content as data.
        right: Number of right answers, where answers are right or wrong.
        asked: Number of answers.
        pictures: Captions and pictures for the montage.
    """

    title: str
    about: str
    command: str
    body: str
    items: list[dict] = field(default_factory=list)
    right: int | None = None
    asked: int = 0
    pictures: list[tuple[str, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Stage(Bench):
    """A bench that chooses the items to show, at random with the seed and without regard to the results.

    `prior` restores pictures for comparison with the model over codes.
    """

    prior: "Prior | None" = None

    def draw(self, records: Sequence, n: int, salt: str) -> list:
        """Choose `n` of the records, each concept at most once; the choice depends on the seed and `salt`."""
        order = random.Random(f"{self.seed} {salt}").sample(range(len(records)), len(records))
        chosen: dict[str, Record] = {}
        for i in order:
            if len(chosen) < n:
                chosen.setdefault(records[i].key, records[i])
        return list(chosen.values())

    def unseen_pictures(self, n: int, salt: str, *slots: str) -> list:
        """Choose pictures half of unseen concepts, half of seen concepts in an unseen style."""
        half = self.draw(self.held_out("concept", "image", *slots), n // 2, salt)
        return half + self.draw(self.held_out("pair", "image", *slots), n - n // 2, salt)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages to show, with several scripts where the model has them."""
        shown = tuple(language for language in SHOWN_LANGUAGES if language in self.system.languages)
        return shown or self.system.languages[:4]

    def has(self, *slots: str) -> bool:
        """Whether the model has all these slots."""
        return set(slots) <= set(self.system.slots)


def spoken(record: "Record") -> str:
    """Language of a sound record."""
    return next(slot.removeprefix("text:") for slot in record.slots if slot.startswith("text:"))


def name_of(record: "Record", language: str = "en") -> str:
    """Name of a record in a language; "" where it has none."""
    slot = f"text:{language}"
    return record.load(slot).data if slot in record.slots else ""
