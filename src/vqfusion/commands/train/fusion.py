"""Training of a whole chain by the command `train`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from vqfusion.commands.train.training import Training, cost_of, time_of
from vqfusion.config import ChainConfig
from vqfusion.config.chain import UNLIMITED
from vqfusion.runs.words import duration
from vqfusion.train import fusion

if TYPE_CHECKING:
    from vqfusion.train.loop.estimate import Estimate
    from vqfusion.train.loop.metrics import OnMetrics


class FusionTraining(Training[ChainConfig]):
    """Training of tokenizers and Fusion from raw data."""

    section: ClassVar[str] = "chain"
    room: ClassVar[ModuleType] = fusion
    report: dict[str, Any] = {}

    @property
    def smallest_batch(self) -> int:
        chain = self.config
        sizes = [stage.batch for name, stage in chain.tokenizer_stages.items() if name in chain.tokenizers]
        if chain.fusion.slots:
            sizes += [draw.batch or chain.fusion_stage.batch for draw in chain.draws]
        return min(sizes, default=1)

    def summary(self) -> list[tuple[str, str]]:
        from vqfusion.data import BUILT_IN, ELSEWHERE
        from vqfusion.data.summary import summary

        return [] if self.config.data in BUILT_IN + ELSEWHERE else summary(self.data)

    def estimates(self) -> "Sequence[Estimate]":
        from vqfusion.train.fusion.estimate import estimate
        from vqfusion.train.loop.accelerator import make_accelerator

        return estimate(self.config, make_accelerator(self.device), self.data)

    def seconds(self, costs: "Sequence[Estimate]") -> float:
        return 60 * self.config.minutes if self.config.minutes else super().seconds(costs)

    def rows(self, costs: "Sequence[Estimate]") -> Iterator[tuple[str, str]]:
        chain, cost = self.config, {one.name: f"\n{cost_of(one)}" for one in costs}
        for name, tokenizer in chain.tokenizers.items():
            stage = chain.tokenizer_stages.get(name)
            steps = f", {stage.steps} steps of {stage.batch}" if stage else ""
            yield f"tokenizer {name}", tokenizer.kind + steps + cost.get(f"tokenizer {name}", "")
        if chain.fusion.slots:
            yield from self._fusion(cost["fusion"])
        if chain.minutes:
            yield "time here", f"{duration(60 * chain.minutes)}, from reading the data to the score"
        else:
            yield "time here", f"{time_of(costs)}; reading and tokenising the data come on top"
        yield "memory", "computed for weights, gradients, Adam and average; measured for activations"

    def _fusion(self, cost: str) -> Iterator[tuple[str, str]]:
        chain, fusion, stage = self.config, self.config.fusion, self.config.fusion_stage
        shape = f"width {fusion.dim}, {fusion.layers} layers, {fusion.heads} heads"
        steps = f"{stage.steps} steps" if stage.steps < UNLIMITED else "steps"
        yield "fusion", f"{shape}, {steps} of {stage.draws_per_step} draws{cost}"
        yield "slots", " ".join(name for name in fusion.slots if not name.startswith("length:"))
        total = sum(draw.weight for draw in chain.draws)
        for draw in chain.draws:
            task = f"{' + '.join(draw.given) or 'nothing'} -> {' + '.join(draw.target)}"
            yield f"{100 * draw.weight / total:.0f} % of the draws", task

    def next_steps(self) -> list[str]:
        steps = super().next_steps() if self.config.fusion.slots else [f"use it with encode --model {self.folder}"]
        if (self.folder / "samples").is_dir():
            steps.append(f"see what it made while it learned in {self.folder / 'samples'}")
        if self.config.fusion.slots:
            steps.append(f"score it with vqfusion eval --model {self.folder} --data {self.config.data}")
        return [*steps, f"see its codes with vqfusion inspect {self.folder}"]

    def run(self, begin: Path | None, on_metrics: "OnMetrics | None") -> dict[str, Any]:
        from vqfusion.fitting import learn
        from vqfusion.nn.weights import count_parameters
        from vqfusion.train.fusion.preview import Preview
        from vqfusion.train.loop.accelerator import make_accelerator

        how = {
            "accelerator": make_accelerator(self.device),
            "on_metrics": on_metrics,
            "start": begin,
            "on_log": Preview(self.config, self.data, self.folder / "samples"),
        }
        system, self.report = learn(self.config, self.folder, self.data, self.started, **how)
        return {
            "device": str(system.device),
            "slots": list(system.slots),
            "parameters": count_parameters(system.fusion) if system.slots else 0,
            **self.report,
        }

    def last_lines(self) -> list[str]:
        validation, test = self.report.get("validation"), self.report.get("test") or []
        lines = []
        if validation:
            best = f"the best of {validation['last_step']} steps is {validation['best_step']}"
            ended = ", where it stopped because nothing got better" if validation["stopped_early"] else ""
            lines.append(f"{best}{ended}; {validation['gap']}")
        if validation and not test:
            lines.append("test: not scored, since the test part has too few records, or nothing that can be measured")
        return [*lines, *(f"test: {one['line']}" for one in test)]
