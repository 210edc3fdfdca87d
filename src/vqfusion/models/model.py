"""What every model says of itself, and what those say further that answer in slots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import Generated, Sampling
    from vqfusion.types import Sample


class Model(Protocol):
    """What `vqfusion.load` gives: a `kind` of the table `KINDS`, a config, and the way back to a folder or the hub."""

    kind: ClassVar[str]
    folder: Path | None

    @property
    def config(self) -> Any:
        """The hyperparameters."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model to a folder that `vqfusion.load` opens."""


class SlotModel(Model, Protocol):
    """A model that is asked by slots: a `System`, or a `LatentDiffusion` over a tokenizer."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that can be given or asked for."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the text slots."""

    def labels(self, slot: str) -> list[str]:
        """Names that a label slot knows."""

    def generate(
        self,
        given: Mapping[str, Any],
        target: str,
        sampling: "Sampling" = ...,
        known: "tuple[Sample | Sequence[Sample], Tensor | None] | None" = None,
    ) -> "Generated":
        """Samples of the target slot given others."""

    def distribution(self, given: Mapping[str, Any], target: str) -> list[dict[str, float]]:
        """Probability of every name of a label slot, for each item."""

    def warnings(self, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Lines for the user about what is given."""
