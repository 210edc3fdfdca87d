"""One training loop for every network: tokenizers and Fusion, one process or many."""

import json
import math
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vqfusion.config import StageConfig
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.nn.bfloat16 import has_bfloat16
from vqfusion.tokenizers.quantizers import Quantizer
from vqfusion.train.loop.optimizers import make_optimizers
from vqfusion.train.loop.power_average import PowerAverage, save_snapshots
from vqfusion.train.loop.state import WeightAverage, load_state, save_state, training_tensors

LOG_EVERY = 20

OnMetrics = Callable[[str, dict[str, float]], None]
"""Receives the name of a stage and one line of its metrics.jsonl."""


class Interrupted(Exception):
    """Training was asked to stop; everything is saved. `exit_code` is 130 for Ctrl-C and 143 for SIGTERM."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class Trainable(Protocol):
    """A module with `loss(batch) -> (scalar, report)`."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]: ...


class _Loss(nn.Module):
    """Gives the loss of a module as its forward, which is what distributed wrappers hook into."""

    def __init__(self, module: nn.Module, precision: str):
        super().__init__()
        self.module = module
        self.precision = precision

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        device = next(self.module.parameters()).device.type
        # on CPU the fused attention's backward is slower than plain products for sequences of under 100 tokens
        attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
        bfloat16 = self.precision == "bf16" or (self.precision == "auto" and has_bfloat16(device))
        with attention, torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            return self.module.loss(batch)


def learning_rate(stage: StageConfig, step: int) -> float:
    """Linear warm-up over `warmup_steps`, then a cosine to zero at `steps`."""
    warm = min(1.0, (step + 1) / max(1, stage.warmup_steps))
    return stage.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / stage.steps))


def fit(
    module: nn.Module,
    batches: Callable[[int, int, int], Any],
    stage: StageConfig,
    folder: Path,
    contract: str,
    accelerator: Accelerator,
    on_log: Callable[[int, nn.Module], None] | None = None,
    on_metrics: OnMetrics | None = None,
    stop_after: int | None = None,
    show: bool = True,
) -> nn.Module:
    """Train `module` for `stage.steps` and return it with averaged weights, in evaluation mode.

    With `stage.snapshots`, averages for `power_average.averaged` are written to `folder/snapshots`.
    `batches(step, rank, processes)` gives this process its share of the batch of a step and must depend on
    nothing else: a stopped run then continues bit for bit. The checkpoint `folder/state.safetensors` is
    written every `checkpoint_every_s`, at the end, and when SIGINT or SIGTERM asks for it; metrics go to
    `folder/metrics.jsonl` and, the same values, to `on_metrics`. `contract` says which config the checkpoint
    belongs to. `on_log` sees the module every `LOG_EVERY` steps and must draw from no global generator.
    """
    device = accelerator.device
    module.to(device).train()
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizers = make_optimizers(module, stage)
    average = WeightAverage(module, stage.ema_decay)
    tracked = PowerAverage(module) if stage.snapshots else None
    checkpoint = folder / "state.safetensors"
    step = load_state(checkpoint, contract, module, average, optimizers, tracked)
    wrapped = accelerator.prepare_model(_Loss(module, stage.precision)) if step < stage.steps else None
    quantizers = [m for m in module.modules() if isinstance(m, Quantizer)]
    log = _Log(folder, step, accelerator.is_main_process, on_metrics)

    def save() -> None:
        if accelerator.is_main_process:
            save_state(checkpoint, step, contract, dict(training_tensors(module, average, optimizers, tracked)))

    saved_at = time.monotonic()
    with _Signals() as signals, _progress(show and accelerator.is_main_process) as progress:
        bar = progress.add_task(folder.name, total=stage.steps, completed=step, status="")
        while wrapped is not None and step < stage.steps:
            loss, report = wrapped(batches(step, accelerator.process_index, accelerator.num_processes))
            accelerator.backward(loss)
            if stage.clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, stage.clip_norm)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(stage, step)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for quantizer in quantizers:
                quantizer.update()
            average.update(module, step)
            if tracked:
                tracked.update(module, step)
                if (step + 1) * stage.snapshots // stage.steps > step * stage.snapshots // stage.steps:
                    if accelerator.is_main_process:
                        save_snapshots(tracked.snapshots(step), folder / "snapshots")
            step += 1
            log.add({"loss": loss.detach(), **report})
            if step % LOG_EVERY == 0 or step == stage.steps:
                means = log.write(step, learning_rate(stage, step - 1))
                progress.update(bar, status=" ".join(f"{k} {v:.3g}" for k, v in list(means.items())[:3]))
                if on_log and accelerator.is_main_process:
                    on_log(step, module)
                    module.train()
            progress.update(bar, completed=step)
            stopped = _any_process(signals.number is not None or step == stop_after, accelerator)
            due = time.monotonic() - saved_at > stage.checkpoint_every_s
            if stopped or due or step == stage.steps:
                save()
                saved_at = time.monotonic()
            if stopped:
                raise Interrupted(
                    f"stopped at step {step} of {stage.steps}; nothing is lost, the same command goes on from there",
                    128 + (signals.number or signal.SIGINT),
                )
    average.copy_to(module)
    return module.eval()


def _any_process(flag: bool, accelerator: Accelerator) -> bool:
    """Whether the flag is set on some process, so that all of them stop at the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device)) > 0)


class _Log:
    """Means of the reported values since the last line, one JSON object a line.

    A resumed run cuts what it repeats, and a line that a full disk cut off.
    """

    def __init__(self, folder: Path, step: int, active: bool, on_metrics: OnMetrics | None):
        self.path, self.active, self.on_metrics = folder / "metrics.jsonl", active, on_metrics
        self.sums: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.started = time.monotonic()
        if active:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self.path.read_text().splitlines() if self.path.exists() else []
            kept = [line for line in lines if _step_of(line) <= step]
            write_bytes(self.path, "".join(line + "\n" for line in kept).encode())

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
            self.counts[name] = self.counts.get(name, 0) + 1

    def write(self, step: int, rate: float) -> dict[str, float]:
        means = {name: self.sums[name] / self.counts[name] for name in self.sums}
        self.sums, self.counts = {}, {}
        if self.active:
            exact = {"step": step, **means, "learning_rate": rate, "seconds": time.monotonic() - self.started}
            line = {name: float(f"{value:.6g}") for name, value in exact.items()}
            try:
                with self.path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
            except OSError as error:
                raise UserError(f"{self.path}: cannot be written ({error.strerror})") from None
            if self.on_metrics:
                self.on_metrics(self.path.parent.name, line)
        return means


def _step_of(line: str) -> float:
    """The step of a line of metrics.jsonl, beyond all steps where it is not whole."""
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf


class _Signals:
    """Turns SIGINT and SIGTERM into a number that the loop looks at between two steps."""

    number: int | None = None

    def __enter__(self) -> "_Signals":
        self.previous: dict[int, Any] = {}
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self.previous[number] = signal.signal(number, self._note)
        except ValueError:  # not the main thread: signals stay with whoever runs us
            pass
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)


def _progress(active: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}"),
        console=Console(stderr=True),
        disable=not active,
    )
