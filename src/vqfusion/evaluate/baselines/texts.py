"""What a translator must beat: looking the word up, through English."""

from collections.abc import Mapping, Sequence


class PivotDictionary:
    """Two dictionaries end to end: from a language to English, and from English to another.

    Built from the names of training concepts. It knows nothing of any other name and answers "" there.
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
        """The name in the target language, or "" when it is in no dictionary."""
        return self.from_pivot.get((target, self.to_pivot.get((source, name), "")), "")
