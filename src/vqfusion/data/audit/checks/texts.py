"""Texts in a damaged encoding or in another language than their slot says."""

from collections.abc import Iterator, Sequence

import numpy as np

from vqfusion.data.audit.check import Check, FactCheck
from vqfusion.data.audit.item import Finding, Item, Severity, by_slot
from vqfusion.data.audit.languages import other_languages, strange_script
from vqfusion.data.audit.survey import Survey

SHORTEST = 12  # letters from which the language of a text in the right script is judged
LEAST_MARGIN = 0.05  # nats for each letter


class Garbled(FactCheck):
    """Texts that were read in another encoding than they were written in."""

    name = "mojibake"
    severity = Severity.SERIOUS
    about = (
        "Letters as of a text in one encoding that was read in another (Ã¤ for ä), or replaced by question marks: "
        "convert the source again."
    )
    fact = "garbled"
    drop = True

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        return values > 0

    def said(self, value: float, item: Item) -> str:
        return f"{value:.0f} places such as in {item.measured.head[:60]!r}" if item.measured else ""


class WrongLanguage(Check):
    """Texts that are not in the language of their slot."""

    name = "wrong-language"
    severity = Severity.WARNING
    about = (
        "More likely in another language than in that of its slot, by script and by letters that follow each other, "
        "as learned from the texts here. Languages that are not at hand and shorter texts are not judged."
    )

    def looks_at(self, survey: Survey) -> int:
        return len(_spoken(survey))

    def find(self, survey: Survey) -> Iterator[Finding]:
        slots = by_slot(_spoken(survey))
        texts = {slot: [item.measured.head for item in items if item.measured] for slot, items in slots.items()}
        found = []
        for slot, items in slots.items():
            language = slot.partition(":")[2]
            others = {one.partition(":")[2]: rows for one, rows in texts.items() if one != slot}
            judged = other_languages(texts[slot], language, others)
            for item, text, (name, margin) in zip(items, texts[slot], judged, strict=True):
                if script := strange_script(text, language):
                    found.append((item, 9.0, f"in {script} script"))
                elif name and margin > LEAST_MARGIN and sum(c.isalpha() for c in text) >= SHORTEST:
                    found.append((item, margin, f"rather {name} than {language}"))
        for item, margin, said in sorted(found, key=lambda row: -row[1]):
            yield Finding(item.name, f"{said}: {item.measured.head[:60]!r}" if item.measured else said, margin, True)


def _spoken(survey: Survey) -> list[Item]:
    """Texts whose slot names a language."""
    return [item for item in survey.items if item.measured and item.measured.head and ":" in item.slot]
