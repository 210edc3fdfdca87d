"""Baseline for translation: dictionary lookup through English."""

from collections.abc import Mapping, Sequence


class PivotDictionary:
    """Two dictionaries in sequence: from a language to English, and from English to another.

    Built from the names of training concepts; "" for any other name.
    """

    def __init__(self, concepts: Sequence[Mapping[str, str]], pivot: str = "en"):
        self.to_pivot: dict[tuple[str, str], str] = {}
        self.from_pivot: dict[tuple[str, str], str] = {}
        for names in concepts:
            if pivot not in names:
                continue
            for language, name in names.items():
                self.to_pivot.setdefault((language, name), names[pivot])
                self.from_pivot.setdefault((language, names[pivot]), name)

    def translate(self, name: str, source: str, target: str) -> str:
        """Name in the target language, or "" where it is in no dictionary."""
        return self.from_pivot.get((target, self.to_pivot.get((source, name), "")), "")
