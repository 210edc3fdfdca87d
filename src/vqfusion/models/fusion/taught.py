"""Names that a model was taught, and the doubt about those that it was not."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

from vqfusion.data import Record

EXAMPLES = 3


class Taught:
    """The names in each text slot, `{"text:en": ("broccoli", ...)}`.

    A slot has names where texts repeat in training, every one at least twice in the mean; captions, which hardly do,
    are no list to hold anybody to, and their slot is left out.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None):
        self.names = {slot: tuple(texts) for slot, texts in (names or {}).items()}
        self._known = {slot: frozenset(texts) for slot, texts in self.names.items()}

    @classmethod
    def of(cls, records: Iterable[Record], slots: Iterable[str]) -> "Taught":
        """The names in these records."""
        records, names = list(records), {}
        for slot in slots:
            texts = [record.load(slot).data for record in records if slot in record.sources]
            if texts and 2 * len(set(texts)) <= len(texts):
                names[slot] = sorted(set(texts))
        return cls(names)

    def doubt(self, slot: str, text: str) -> str | None:
        """One line for the user where this text is not one of the names of a slot that has names."""
        if slot not in self._known or text in self._known[slot]:
            return None
        names = self.names[slot]
        near = get_close_matches(text, names, n=EXAMPLES, cutoff=0.7)
        some = ", ".join(near or names[len(names) // 4 :: max(1, len(names) // 4)][:EXAMPLES])
        hint = f"near it: {some}" if near else f"it knows {some}, and others"
        known = f"the {len(names)} names in {slot}"
        return f"{text!r} is not among {known} that this model was taught, so the answer is a guess; {hint}"
