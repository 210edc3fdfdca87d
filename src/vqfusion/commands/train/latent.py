"""Training of a latent diffusion model by the command `train`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.commands.train.training import Training, cost_of, time_of
from vqfusion.config import LatentTrainingConfig
from vqfusion.train import latent

if TYPE_CHECKING:
    from vqfusion.train.loop.estimate import Estimate
    from vqfusion.train.loop.metrics import OnMetrics


class LatentTraining(Training[LatentTrainingConfig]):
    """Training of a tokenizer and the diffusion of its latents."""

    section: ClassVar[str] = "latent"
    room: ClassVar[ModuleType] = latent

    @property
    def smallest_batch(self) -> int:
        return min(self.config.tokenizer_stage.batch, self.config.stage.batch)

    def estimates(self) -> "Sequence[Estimate]":
        from vqfusion.train.latent.estimate import estimate
        from vqfusion.train.loop.accelerator import make_accelerator

        return estimate(self.config, make_accelerator(self.device), self.data)

    def rows(self, costs: "Sequence[Estimate]") -> Iterator[tuple[str, str]]:
        for cost in costs:
            yield cost.name, f"{cost.steps} steps\n{cost_of(cost)}"
        yield "time here", f"{time_of(costs)}; reading the data comes on top"

    def next_steps(self) -> list[str]:
        from vqfusion.train.latent.data import kind_of_tokenizer

        target = kind_of_tokenizer(self.config.latent)
        return [f"use it with vqfusion any --target {target} --model {self.folder}"]

    def run(self, begin: Path | None, on_metrics: "OnMetrics | None") -> dict[str, Any]:
        from vqfusion.nn.weights import count_parameters
        from vqfusion.train.latent.trainer import train
        from vqfusion.train.loop.accelerator import make_accelerator

        model = train(self.config, self.folder, make_accelerator(self.device), self.data, on_metrics, begin)
        return {
            "device": str(model.device),
            "grid": list(model.grid),
            "classes": list(model.classes),
            "parameters": count_parameters(model),
        }
