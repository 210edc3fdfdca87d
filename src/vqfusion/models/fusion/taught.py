"""Names that a model was trained on, and the speakers and styles of each."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from vqfusion.data import Record

EXAMPLES = 3
SHOWN_BY = {"speaker": "audio", "style": "image"}  # label slots that say how a target shows a name
# target -> text slot -> label slot -> label -> names that were taught with this label: which names each voice said
Together = Mapping[str, Mapping[str, Mapping[str, Mapping[str, frozenset[str]]]]]


class Taught:
    """Names that a model learned, and with which labels it learned them.

    Args:
        names: Names in each text slot, `{"text:en": ("broccoli", ...)}`. A slot has names where texts repeat in
            training, each at least twice on average; captions, which hardly repeat, are no closed list, and their
            slot is left out.
        together: For each target, the names that were taught with each label of its speaker or style:
            `{"audio": {"text:en": {"speaker": {"clara": {"broccoli", ...}}}}}`.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None, together: Together | None = None):
        self.names = {slot: tuple(texts) for slot, texts in (names or {}).items()}
        self.together = together or {}
        self._known = {slot: frozenset(texts) for slot, texts in self.names.items()}

    @classmethod
    def of(cls, records: Iterable[Record], slots: Iterable[str]) -> "Taught":
        """What `records`, the training split, teach in the text `slots` of a model."""
        records, names = list(records), {}
        together: dict[str, dict[str, dict[str, dict[str, set[str]]]]] = {}
        for slot in slots:
            having = [record for record in records if slot in record.sources]
            texts = [record.load(slot).data for record in having]
            if not texts or 2 * len(set(texts)) > len(texts):
                continue
            names[slot] = sorted(set(texts))
            for record, text in zip(having, texts, strict=True):
                for label_slot, target in SHOWN_BY.items():
                    if label_slot in record.sources and target in record.sources:
                        rows = together.setdefault(target, {}).setdefault(slot, {}).setdefault(label_slot, {})
                        rows.setdefault(record.load(label_slot).data, set()).add(text)
        return cls(names, _frozen(together))

    def labels_for(self, target: str, slot: str, text: str, label_slot: str) -> tuple[str, ...]:
        """Labels, in order, with which this name was taught: the voices that said it, the styles it was drawn in."""
        rows = self.together.get(target, {}).get(slot, {}).get(label_slot, {})
        return tuple(sorted(label for label, names in rows.items() if text in names))

    def warning(self, slot: str, text: str) -> str | None:
        """One line for the user where this text is not one of the names of a slot that has names."""
        if slot not in self._known or text in self._known[slot]:
            return None
        names = self.names[slot]
        near = get_close_matches(text, names, n=EXAMPLES, cutoff=0.7)
        some = ", ".join(near or names[len(names) // 4 :: max(1, len(names) // 4)][:EXAMPLES])
        hint = f"near it: {some}" if near else f"it knows {some}, and others"
        known = f"the {len(names)} names in {slot}"
        return f"{text!r} is not among {known} that this model was taught, so the answer is a guess; {hint}"

    def stored_together(self) -> dict[str, Any]:
        """`together` as JSON: for each label a string with "1" at the names that were taught with it, else "0"."""
        return _each(self.together, lambda slot, names: "".join("01"[name in names] for name in self.names[slot]))

    @classmethod
    def from_stored(cls, names: Mapping[str, Sequence[str]], stored: Mapping[str, Any]) -> "Taught":
        """What `names` and `stored_together` were written from; ValueError where they do not fit."""

        def read(slot: str, flags: str) -> frozenset[str]:
            return frozenset(name for name, flag in zip(names[slot], flags, strict=True) if flag == "1")

        return cls(names, _each(stored, read))


def _each(together: Mapping[str, Any], change: Any) -> dict[str, Any]:
    """The same nested mapping with `change(text slot, value)` for each label."""
    return {
        target: {
            slot: {kind: {label: change(slot, value) for label, value in rows.items()} for kind, rows in kinds.items()}
            for slot, kinds in slots.items()
        }
        for target, slots in together.items()
    }


def _frozen(together: Mapping[str, Any]) -> Together:
    return _each(together, lambda _, names: frozenset(names))
