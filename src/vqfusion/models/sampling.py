"""Sampling settings and results, the same for every kind of model."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vqfusion.limits import SAMPLES, STEPS

if TYPE_CHECKING:
    from vqfusion.types import Sample


SHOWN = 5  # names of a distribution


@dataclass(frozen=True)
class Sampling:
    """Sampling settings; None uses the default of the model.

    Each sample of each item has its own random generator, seeded by `seed`, the number of the item and that of the
    sample.

    Attributes:
        samples: Samples for each item.
        seed: Random seed.
        steps: Sampling steps.
        temperature: Sampling temperature; 0 takes the most probable tokens.
        guidance_scale: Classifier-free guidance; 1 is off.
        top_p: Nucleus sampling: Holtzman et al. (2020).
        items: Numbers of the items for their seeds; 0, 1, 2, ... where empty.
    """

    samples: int = 1
    seed: int = 0
    steps: int | None = None
    temperature: float | None = None
    guidance_scale: float | None = None
    top_p: float | None = None
    items: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        SAMPLES.require(self.samples, "this")
        STEPS.require(self.steps or 0, "this")

    def seed_of(self, item: int, sample: int = 0) -> int:
        """Seed of a sample of the item at this index."""
        number = self.items[item] if self.items else item
        return self.seed * 1_000_003 + number * 1009 + sample

    def of_item(self, item: int) -> "Sampling":
        """Settings for one item alone, with the same seed as in the batch."""
        return replace(self, items=(self.items[item] if self.items else item,))


class Distribution(dict[str, float]):
    """Probability by name, the largest first; a dict that shows its largest values."""

    def __repr__(self) -> str:
        largest = list(self.items())[:SHOWN]
        more = [f"and {len(self) - SHOWN} others"] if len(self) > SHOWN else []
        return "{" + ", ".join([f"{name!r}: {p:.3g}" for name, p in largest] + more) + "}"

    def _repr_html_(self) -> str:
        """The most probable names with bars, for notebooks."""
        from vqfusion.data.display import html_of_distribution

        return html_of_distribution(self)


@dataclass(frozen=True)
class Generated:
    """Generated samples.

    Attributes:
        target: Slot of the samples.
        samples: `samples[item][k]`.
        nfe: Network evaluations, with both branches of guidance counted.
        seconds: Elapsed time.
        warnings: Lines for the user about what was left out.
    """

    target: str
    samples: "list[list[Sample]]"
    nfe: int
    seconds: float
    warnings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """The samples, a row for each item, for notebooks."""
        from vqfusion.data.display import html_of_rows

        return html_of_rows(self.samples)
