"""Training of a latent diffusion model by the command `train`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.commands.train.training import Training, cost_of, time_of
from vqfusion.config import LatentTrainingConfig

if TYPE_CHECKING:
    from vqfusion.train.loop.estimate import Estimate
    from vqfusion.train.loop.metrics import OnMetrics
    from vqfusion.train.loop.run import RunFolder


class LatentTraining(Training[LatentTrainingConfig]):
    """Training of a tokenizer and the diffusion of its latents."""

    section: ClassVar[str] = "latent"

    def run_folder(self) -> "RunFolder":
        from vqfusion.train.latent.trainer import latent_folder

        return latent_folder(self.config, self.folder)

    @property
    def smallest_batch(self) -> int:
        return min(self.config.tokenizer_stage.batch, self.config.stage.batch)

    def estimates(self) -> "Sequence[Estimate]":
        from vqfusion.train.latent.estimate import estimate_latent

        return estimate_latent(self.config, self.device)

    def rows(self, costs: "Sequence[Estimate]") -> Iterator[tuple[str, str]]:
        for cost in costs:
            yield cost.name, f"{cost.steps} steps\n{cost_of(cost)}"
        yield "time here", f"{time_of(costs)}; reading the data comes on top"

    def next_steps(self) -> list[str]:
        from vqfusion.train.latent.trainer import kind_of_tokenizer

        target = kind_of_tokenizer(self.config.latent)
        return [f"use it with vqfusion any --target {target} --model {self.folder}"]

    def run(self, begin: Path | None, on_metrics: "OnMetrics | None") -> dict[str, Any]:
        from vqfusion.nn.weights import count_parameters
        from vqfusion.train.latent.trainer import train_latent
        from vqfusion.train.loop.accelerator import make_accelerator

        model = train_latent(self.config, self.folder, make_accelerator(self.device), on_metrics, begin)
        return {
            "device": str(model.device),
            "grid": list(model.grid),
            "classes": list(model.classes),
            "parameters": count_parameters(model),
        }
