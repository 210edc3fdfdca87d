"""Training of a prior by the command `train`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.commands.train.training import Training, cost_of, is_first_process, time_of
from vqfusion.config import PriorTrainingConfig
from vqfusion.train import restoration

if TYPE_CHECKING:
    from vqfusion.train.loop.estimate import Estimate
    from vqfusion.train.loop.metrics import OnMetrics


class RestorationTraining(Training[PriorTrainingConfig]):
    """Training of a prior on signals of one modality."""

    section: ClassVar[str] = "prior"
    room: ClassVar[ModuleType] = restoration
    verdict = ""

    @property
    def smallest_batch(self) -> int:
        return self.config.stage.batch

    def check(self, begin: Path | None) -> None:
        super().check(begin)
        if self.teacher:
            from vqfusion.train.restoration.distillation import load_teacher

            load_teacher(self.config, self.teacher)

    @property
    def teacher(self) -> Path | None:
        """Folder of the prior to learn from."""
        from vqfusion.hub import find_model

        return find_model(self.config.distill) if self.config.distill else None

    def estimates(self) -> "Sequence[Estimate]":
        from vqfusion.train.loop.accelerator import make_accelerator
        from vqfusion.train.restoration.estimate import estimate

        return estimate(self.config, make_accelerator(self.device), self.teacher)

    def rows(self, costs: "Sequence[Estimate]") -> Iterator[tuple[str, str]]:
        prior, stage = self.config.prior, self.config.stage
        crops = f"{stage.steps} steps of {stage.batch} crops of {self.config.crop} positions a side"
        yield "prior", f"{prior.modality}, {prior.channels} channels, {crops}\n{cost_of(costs[0])}"
        yield "time here", f"{time_of(costs)}; reading the data comes on top"

    def run(self, begin: Path | None, on_metrics: "OnMetrics | None") -> dict[str, Any]:
        from vqfusion.nn.weights import count_parameters
        from vqfusion.train.loop.accelerator import make_accelerator
        from vqfusion.train.restoration.trainer import train

        given = (self.config, self.folder, make_accelerator(self.device), self.data, on_metrics, begin)
        prior = train(*given, teacher=self.teacher)
        made = {
            "device": str(prior.device),
            "modality": self.config.prior.modality,
            "parameters": count_parameters(prior),
        }
        if self.config.prior.clean or not is_first_process():
            return made
        from vqfusion.commands.noisy_page import judge_training

        found = judge_training(prior, self.config, self.data, self.folder)
        self.verdict = str(found["verdict"])
        return made | {
            "works": found["works"],
            "verdict": found["verdict"],
            "page": str(self.folder / "report.html"),
            "method": found["noise_model"]["method"],
        }

    def next_steps(self) -> list[str]:
        said = [] if self.config.prior.clean else [self.verdict, f"see {self.folder / 'report.html'}"]
        return [*said, *super().next_steps()]
