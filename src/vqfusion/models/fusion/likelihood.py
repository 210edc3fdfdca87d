"""Result of `System.likelihood`."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Likelihood:
    """Upper bound on -log2 p(target | given).

    Attributes:
        bits: Sum over the items.
        tokens: Number of tokens.
        bits_per_token: Mean over tokens.
        bits_per_character: Mean over the characters of texts; None for other targets.
    """

    bits: float
    tokens: int
    bits_per_token: float
    bits_per_character: float | None

    @classmethod
    def of(cls, bits: float, tokens: int, texts: Sequence[str]) -> "Likelihood":
        """Bound from its total; `texts` are the target texts, none for other targets."""
        characters = sum(map(len, texts))
        return cls(bits, tokens, bits / tokens, bits / characters if characters else None)
