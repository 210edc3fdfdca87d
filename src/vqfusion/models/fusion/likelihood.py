"""How probable a System finds the content of a slot."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Likelihood:
    """Upper bound on -log2 p(target | given), summed over the items, and per token and character of text."""

    bits: float
    tokens: int
    bits_per_token: float
    bits_per_character: float | None

    @classmethod
    def of(cls, bits: float, tokens: int, texts: Sequence[str]) -> "Likelihood":
        """The bound of so many tokens; `texts` are those that they stand for, none for other signals."""
        characters = sum(map(len, texts))
        return cls(bits, tokens, bits / tokens, bits / characters if characters else None)
