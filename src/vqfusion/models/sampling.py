"""How a model is asked to sample, and what comes back: the same for every kind of model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vqfusion.types import Sample


@dataclass(frozen=True)
class Sampling:
    """How to sample; None leaves a setting to the model. `samples` answers for each item."""

    samples: int = 1
    seed: int = 0
    steps: int | None = None
    temperature: float | None = None
    guidance_scale: float | None = None
    top_p: float | None = None


@dataclass(frozen=True)
class Generated:
    """`samples[item][k]`, the calls of the network (both branches of guidance counted) and the time taken."""

    target: str
    samples: "list[list[Sample]]"
    nfe: int
    seconds: float
