"""Names that a model was trained on, and the speakers and styles of each."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from vqfusion.data import Record

EXAMPLES = 3
SHOWN_BY = {"speaker": "audio", "style": "image"}  # label slots, and the slot whose rendering they describe
# target -> text slot -> label slot -> label -> names that occurred with this label, such as those a speaker said
Together = Mapping[str, Mapping[str, Mapping[str, Mapping[str, frozenset[str]]]]]


class Taught:
    """Names that a model was trained on, and the labels with which each of them occurred.

    Args:
        names: Names of each text slot, `{"text:en": ("broccoli", ...)}`. A slot has names where texts repeat in
            training, on average at least twice; captions hardly repeat and are not a closed list, so that their slots
            are left out.
        together: For each target, the names that occurred with each label of its speaker or style: `{"audio":
            {"text:en": {"speaker": {"clara": {"broccoli", ...}}}}}`.
    """

    def __init__(self, names: Mapping[str, Sequence[str]] | None = None, together: Together | None = None):
        self.names = {slot: tuple(texts) for slot, texts in (names or {}).items()}
        self.together = together or {}
        self._known = {slot: frozenset(texts) for slot, texts in self.names.items()}

    @classmethod
    def of(cls, records: Iterable[Record], slots: Iterable[str]) -> "Taught":
        """Names and labels in the text `slots` of `records`, the training split."""
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
        """Labels with which a name occurred in training: the speakers that said it, or the styles of its pictures.

        Args:
            target: Slot of the sound or picture.
            slot: Text slot of the name.
            text: The name.
            label_slot: "speaker" or "style".

        Returns:
            The labels in alphabetical order.
        """
        rows = self.together.get(target, {}).get(slot, {}).get(label_slot, {})
        return tuple(sorted(label for label, names in rows.items() if text in names))

    def warning(self, slot: str, text: str) -> str | None:
        """Warning for the user where a text is not among the names of a slot that has names; else None."""
        if slot not in self._known or text in self._known[slot]:
            return None
        names = self.names[slot]
        near = get_close_matches(text, names, n=EXAMPLES, cutoff=0.7)
        some = ", ".join(near or names[len(names) // 4 :: max(1, len(names) // 4)][:EXAMPLES])
        hint = f"near it: {some}" if near else f"it knows {some}, and others"
        known = f"the {len(names)} names in {slot}"
        return f"{text!r} is not among {known} that this model was taught, so the answer is a guess; {hint}"

    def stored_together(self) -> dict[str, Any]:
        """`together` for JSON: for each label a string with one digit per name, "1" where they occurred together."""
        return _each(self.together, lambda slot, names: "".join("01"[name in names] for name in self.names[slot]))

    @classmethod
    def from_stored(cls, names: Mapping[str, Sequence[str]], stored: Mapping[str, Any]) -> "Taught":
        """Inverse of storing `names` and `stored_together`; ValueError where they do not fit each other."""

        def read(slot: str, flags: str) -> frozenset[str]:
            return frozenset(name for name, flag in zip(names[slot], flags, strict=True) if flag == "1")

        return cls(names, _each(stored, read))


def _each(together: Mapping[str, Any], change: Any) -> dict[str, Any]:
    """The same nested mapping with `change(text slot, value)` as the value of each label."""
    return {
        target: {
            slot: {kind: {label: change(slot, value) for label, value in rows.items()} for kind, rows in kinds.items()}
            for slot, kinds in slots.items()
        }
        for target, slots in together.items()
    }


def _frozen(together: Mapping[str, Any]) -> Together:
    return _each(together, lambda _, names: frozenset(names))
