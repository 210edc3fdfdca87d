"""Training of a prior by the command `train`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.commands.train.training import Training, cost_of, time_of
from vqfusion.config import PriorTrainingConfig

if TYPE_CHECKING:
    from vqfusion.train.loop.estimate import Estimate
    from vqfusion.train.loop.metrics import OnMetrics
    from vqfusion.train.loop.run import RunFolder


class PriorTraining(Training[PriorTrainingConfig]):
    """Training of a prior on signals of one modality."""

    section: ClassVar[str] = "prior"

    def run_folder(self) -> "RunFolder":
        from vqfusion.train.restoration.trainer import prior_folder

        return prior_folder(self.config, self.folder)

    @property
    def smallest_batch(self) -> int:
        return self.config.stage.batch

    def estimates(self) -> "Sequence[Estimate]":
        from vqfusion.train.restoration.estimate import estimate_prior

        return [estimate_prior(self.config, self.device)]

    def rows(self, costs: "Sequence[Estimate]") -> Iterator[tuple[str, str]]:
        prior, stage = self.config.prior, self.config.stage
        crops = f"{stage.steps} steps of {stage.batch} crops of {self.config.crop} positions a side"
        yield "prior", f"{prior.modality}, {prior.channels} channels, {crops}\n{cost_of(costs[0])}"
        yield "time here", f"{time_of(costs)}; reading the data comes on top"

    def read(self) -> None:
        from vqfusion.train.restoration.trainer import load_signals

        self.signals = load_signals(self.config)

    def next_steps(self) -> list[str]:
        return [f"use it with vqfusion denoise --model {self.folder}, and with upscale, inpaint and enhance"]

    def run(self, begin: Path | None, on_metrics: "OnMetrics | None") -> dict[str, Any]:
        from vqfusion.models.restoration.prior import Prior
        from vqfusion.nn.weights import count_parameters
        from vqfusion.train.loop.accelerator import make_accelerator
        from vqfusion.train.restoration.trainer import train_prior

        first = Prior.from_pretrained(begin) if begin else None
        prior = train_prior(self.config, self.signals, self.folder, make_accelerator(self.device), on_metrics, first)
        return {
            "device": str(prior.device),
            "modality": self.config.prior.modality,
            "parameters": count_parameters(prior),
        }
