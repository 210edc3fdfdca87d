"""Validation during a training: losses on data that it does not learn from, the best weights, and when to stop."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.nn.weights import load_into, load_with_metadata, require_finite, save_weights

SPARING = 9  # times as long as a validation took passes before the next one, where time is limited


@dataclass(frozen=True)
class Found:
    """Result of one validation.

    Attributes:
        score: What is made as small as can be; of equal first numbers the later ones decide.
        values: Everything that was measured, by name.
    """

    score: tuple[float, ...]
    values: Mapping[str, float]


class Validation:
    """Validations of one training, at equal parts of it; a resumed run goes on with those that it had.

    Lines of `validation.jsonl` hold step and values, `best.safetensors` the averaged weights of the best step.

    Args:
        folder: Folder of the checkpoints of the training.
        measure: Measures a module with averaged weights, in evaluation mode.
        count: Number of validations in the whole training; 0 makes none.
        patience: Stop after this many validations without a better one; 0 never stops.
    """

    def __init__(self, folder: Path, measure: Callable[[nn.Module], Found], count: int, patience: int):
        self.folder, self.measure, self.count, self.patience = folder, measure, count, patience
        self.lines: list[dict[str, Any]] = []
        self.took, self.ended_at = 0.0, time.monotonic()  # seconds of the last one, and when it ended

    def begin(self, step: int) -> None:
        """Take up the validations before a step; later ones are made again."""
        path = self.folder / "validation.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        try:
            self.lines = [line for line in map(json.loads, lines) if line["step"] <= step]
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}: not the validations of a training; delete it") from None
        if lines:
            self._write()

    def due(self, before: float, after: float, timed: bool = False) -> bool:
        """Whether a validation is due after a step that led from one fraction of the training to another.

        Where the training has its time (`timed`), one on the way is left out that would take over a tenth of it.
        """
        if timed and after < 1 and time.monotonic() - self.ended_at < SPARING * self.took:
            return False
        return int(self.count * after) > int(self.count * before)

    def look(self, step: int, module: nn.Module) -> dict[str, float]:
        """Validate, and keep the weights where they are the best so far; returns the values."""
        began = time.monotonic()
        found = self.measure(module)
        better = self.best is None or _rounded(list(found.score)) < self.best["score"]
        line = {"step": step, "score": list(found.score), **found.values}
        self.lines.append({name: _rounded(value) for name, value in line.items()})
        if better:
            tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
            save_weights(self.folder / "best.safetensors", tensors, {"step": str(step)})
        self._write()
        self.ended_at = time.monotonic()
        self.took = self.ended_at - began
        return dict(found.values)

    @property
    def best(self) -> dict[str, Any] | None:
        """Line of the best validation, the first of equal ones; None before the first."""
        return min(self.lines, key=lambda line: line["score"]) if self.lines else None

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` validations brought nothing better."""
        if not (self.patience and self.best):
            return False
        return len(self.lines) - 1 - self.lines.index(self.best) >= self.patience

    def restore(self, module: nn.Module) -> None:
        """Load the best weights into a module, where there are any."""
        path = self.folder / "best.safetensors"
        if self.best is not None and path.exists():
            tensors, _ = load_with_metadata(path)
            require_finite(tensors, path)
            load_into(module, tensors, path)

    def _write(self) -> None:
        lines = "".join(json.dumps(line) + "\n" for line in self.lines)
        write_bytes(self.folder / "validation.jsonl", lines.encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value
