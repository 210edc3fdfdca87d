"""How a model is asked to sample, and what comes back: the same for every kind of model."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqfusion.types import Sample


@dataclass(frozen=True)
class Sampling:
    """How to sample; None leaves a setting to the model. `samples` answers for each item.

    Each sample of each item draws from a generator of its own, seeded by `seed`, the number of the item and that of
    the sample. `items` holds the numbers of the items; where it is empty they are 0, 1, 2, ...
    """

    samples: int = 1
    seed: int = 0
    steps: int | None = None
    temperature: float | None = None
    guidance_scale: float | None = None
    top_p: float | None = None
    items: tuple[int, ...] = ()

    def seed_of(self, item: int, sample: int = 0) -> int:
        """The seed of a sample of the item at a place in the list of items."""
        number = self.items[item] if self.items else item
        return self.seed * 1_000_003 + number * 1009 + sample

    def of_item(self, item: int) -> "Sampling":
        """The same for one item of the list by itself."""
        return replace(self, items=(self.items[item] if self.items else item,))


@dataclass(frozen=True)
class Generated:
    """`samples[item][k]`, the calls of the network (both branches of guidance counted) and the time taken."""

    target: str
    samples: "list[list[Sample]]"
    nfe: int
    seconds: float
