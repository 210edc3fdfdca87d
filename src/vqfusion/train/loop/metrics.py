"""Metrics of a training: means over the steps since the last line of metrics.jsonl."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch.distributed as dist
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.files import write_bytes

OnMetrics = Callable[[str, dict[str, float]], None]
"""Receives the name of a stage and one line of its metrics.jsonl."""


class Metrics:
    """Means of the reported values since the last line, over all processes, as JSON lines.

    A resumed run removes the lines that it repeats and a truncated last line, and continues with the sums of its
    checkpoint (`state`), so that its lines equal those of an uninterrupted run.
    """

    def __init__(self, folder: Path, step: int, state: str, first: bool, on_metrics: OnMetrics | None):
        self.path, self.first, self.on_metrics = folder / "metrics.jsonl", first, on_metrics
        before = json.loads(state) if state else {}
        self.sums: dict[str, float] = before.get("sums", {}) if first else {}
        self.counts: dict[str, int] = before.get("counts", {}) if first else {}
        self.started = time.monotonic() - before.get("seconds", 0.0)
        if first:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self.path.read_text().splitlines() if self.path.exists() else []
            kept = [line for line in lines if _step_of(line) <= step]
            write_bytes(self.path, "".join(line + "\n" for line in kept).encode())

    @property
    def seconds(self) -> float:
        """Time of the training so far, all parts of a resumed one together."""
        return time.monotonic() - self.started

    def add(self, values: Mapping[str, Tensor], share: float) -> None:
        """Add the values of a step; `share` is the fraction of its items in this process."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + share * float(value)
            self.counts[name] = self.counts.get(name, 0) + 1

    def state(self) -> str:
        """State for a checkpoint, as JSON; all processes must call it."""
        self._collect()
        return json.dumps({"sums": self.sums, "counts": self.counts, "seconds": self.seconds})

    def write(self, step: int, rate: float) -> dict[str, float]:
        """Write and return the means since the last line; all processes must call it."""
        self._collect()
        means = {name: self.sums[name] / self.counts[name] for name in self.sums}
        self.sums, self.counts = {}, {}
        if self.first:
            exact = {"step": step, **means, "learning_rate": rate, "seconds": self.seconds}
            line = {name: float(f"{value:.6g}") for name, value in exact.items()}
            try:
                with self.path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            except OSError as error:
                raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
            if self.on_metrics:
                self.on_metrics(self.path.parent.name, line)
        return means

    def _collect(self) -> None:
        """Add the sums of all processes in the first one."""
        if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
            return
        parts: list[dict[str, float]] = [{}] * dist.get_world_size()
        dist.all_gather_object(parts, self.sums)
        names = list(self.sums)
        self.sums = {name: sum(part.get(name, 0.0) for part in parts) if self.first else 0.0 for name in names}


def _step_of(line: str) -> float:
    """Step of a line of metrics.jsonl; infinite where the line is truncated."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf
