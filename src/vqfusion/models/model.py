"""Protocols of models: of all models, and of those that work on slots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from vqfusion.models.sampling import Distribution, Generated, Sampling
    from vqfusion.types import Sample


class Model(Protocol):
    """What `vqfusion.load` returns: a `kind` of the table `KINDS`, a config, and saving to a folder or the hub."""

    kind: ClassVar[str]
    folder: Path | None

    @property
    def config(self) -> Any:
        """Hyperparameters."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model to a folder that `vqfusion.load` opens."""


class SlotModel(Model, Protocol):
    """A model over slots: a `System`, or a `LatentDiffusion` over a tokenizer."""

    @property
    def slots(self) -> tuple[str, ...]:
        """Slots that can be given or generated."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the text slots."""

    def labels(self, slot: str) -> list[str]:
        """Names of a label slot."""

    def generate(
        self,
        given: Mapping[str, Any],
        target: str,
        sampling: "Sampling" = ...,
        known: "tuple[Sample | Sequence[Sample], Tensor | None] | None" = None,
    ) -> "Generated":
        """Samples of the target slot given others."""

    def distribution(self, given: Mapping[str, Any], target: str) -> "list[Distribution]":
        """Probability of each name of a label slot, for each item."""

    def warnings(self, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Warnings for the user about the given samples, one line each."""
