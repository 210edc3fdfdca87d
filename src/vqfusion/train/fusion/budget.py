"""How the time of a whole training is divided: reading, tokenizers, Fusion, and the score at the end."""

import time
from dataclasses import dataclass
from pathlib import Path

from vqfusion.config import ChainConfig, StageConfig
from vqfusion.nn.weights import load_json, save_json

TOKENIZERS = 0.35  # largest part of the time for all tokenizers together
FOR_THE_END, LEAST_END_S = 0.1, 5.0  # part of the time that is kept for saving and for the score
LEAST = 0.2  # part of the time that Fusion gets, however long what came before took
SPENT = "spent.json"


@dataclass(frozen=True)
class Budget:
    """Time of a training; without `minutes` in its config nothing is limited.

    Attributes:
        chain: Config of the training.
        folder: Its folder.
        started: `time.monotonic()` when it began.
    """

    chain: ChainConfig
    folder: Path
    started: float

    @property
    def end_s(self) -> float | None:
        """`time.monotonic()` at which everything ends; None without a limit."""
        return self.started + 60 * self.chain.minutes if self.chain.minutes else None

    def tokenizer_stage(self, name: str) -> StageConfig:
        """Stage of a tokenizer, which gets its part of the time, by the number of its steps."""
        stages = self.chain.tokenizer_stages
        stage = stages.get(name, StageConfig())
        if not self.chain.minutes:
            return stage
        steps = sum(one.steps for one in stages.values()) or 1
        minutes = TOKENIZERS * self.chain.minutes * stage.steps / steps
        return stage.model_copy(update={"minutes": minutes})

    def fusion_stage(self) -> StageConfig:
        """Stage of Fusion, which gets what is left; what came before is remembered for a run that is resumed."""
        stage = self.chain.fusion_stage
        if not self.chain.minutes:
            return stage
        path = self.folder / "fusion" / SPENT
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            save_json(path, {"seconds_before": round(time.monotonic() - self.started, 3)})
        whole = 60 * self.chain.minutes
        left = whole - float(load_json(path)["seconds_before"]) - max(LEAST_END_S, FOR_THE_END * whole)
        return stage.model_copy(update={"minutes": max(left, LEAST * whole) / 60})
