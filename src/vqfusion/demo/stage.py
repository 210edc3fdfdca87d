"""What the sections of the demo share: which items are shown, and what a section is."""

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
    """One verb on a few items.

    `body` is HTML, `items` the same in plain data; `right` of `asked` is the live score where an answer is
    right or wrong; `pictures` are captioned pictures for the montage.
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
    """A bench that picks what is shown: at random with the seed, never by looking at the answers.

    `prior`, where there is one, repairs pictures beside the model over codes.
    """

    prior: "Prior | None" = None

    def draw(self, records: Sequence, n: int, salt: str) -> list:
        """`n` of the records, no thing twice; another salt gives other ones."""
        order = random.Random(f"{self.seed} {salt}").sample(range(len(records)), len(records))
        chosen: dict[str, Record] = {}
        for i in order:
            if len(chosen) < n:
                chosen.setdefault(records[i].key, records[i])
        return list(chosen.values())

    def unseen_pictures(self, n: int, salt: str, *slots: str) -> list:
        """Half of concepts that were never seen, half of seen concepts in a style they were not seen in."""
        half = self.draw(self.held_out("concept", "image", *slots), n // 2, salt)
        return half + self.draw(self.held_out("pair", "image", *slots), n - n // 2, salt)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages to show: several scripts where the model has them."""
        shown = tuple(language for language in SHOWN_LANGUAGES if language in self.system.languages)
        return shown or self.system.languages[:4]

    def has(self, *slots: str) -> bool:
        return set(slots) <= set(self.system.slots)


def spoken(record) -> str:
    """The language of a sound record."""
    return next(slot.removeprefix("text:") for slot in record.slots if slot.startswith("text:"))


def name_of(record, language: str = "en") -> str:
    """The name of a record's thing in a language, "" where it has none."""
    slot = f"text:{language}"
    return record.load(slot).data if slot in record.slots else ""
