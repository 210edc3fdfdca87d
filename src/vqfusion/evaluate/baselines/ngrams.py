"""Model of letters: probabilities of each character from those before it."""

import math
from collections import defaultdict
from collections.abc import Iterable

ORDER, MOST_CHARACTERS = 6, 2_000_000
START, END = "\2", "\3"


class CharacterModel:
    """Character n-grams with the interpolation of Witten, Bell (1991).

    p(c | h) = (count(hc) + types(h) p(c | shorter h)) / (count(h) + types(h)), where types(h) is the number of
    different characters after h; the shortest is uniform over 256 characters and one for all others. The end of a text
    counts as a character.
    """

    name = f"{ORDER}-gram"

    def __init__(self, texts: Iterable[str]):
        self.counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.totals: dict[str, int] = defaultdict(int)
        seen = 0
        for text in texts:
            padded = START * (ORDER - 1) + text + END
            for i in range(ORDER - 1, len(padded)):
                for length in range(ORDER):
                    before = padded[i - length : i]
                    self.counts[before][padded[i]] += 1
                    self.totals[before] += 1
            seen += len(text)
            if seen > MOST_CHARACTERS:
                break

    def probability(self, character: str, before: str) -> float:
        """Probability of a character after `before`, of which the last `ORDER` - 1 characters count."""
        p = 1 / 257
        for length in range(ORDER):
            history = before[len(before) - length :] if length else ""
            if history not in self.totals:
                break
            counts, total = self.counts[history], self.totals[history]
            p = (counts.get(character, 0) + len(counts) * p) / (total + len(counts))
        return p

    def bits_per_character(self, texts: Iterable[str]) -> float:
        """Bits for each character of the texts, whose lengths are known."""
        bits, characters = 0.0, 0
        for text in texts:
            padded = START * (ORDER - 1) + text
            for i in range(ORDER - 1, len(padded)):
                bits -= math.log2(self.probability(padded[i], padded[i - ORDER + 1 : i]))
            characters += len(text)
        return bits / max(1, characters)
