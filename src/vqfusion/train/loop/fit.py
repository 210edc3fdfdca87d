"""The training loop of all networks, in one process or many."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from vqfusion.config import StageConfig
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.nn.arithmetic import Arithmetic
from vqfusion.runs.record import Record
from vqfusion.runs.words import left_in_words
from vqfusion.tokenizers.quantizers import Quantizer
from vqfusion.tokenizers.quantizers.watch import watch_usage
from vqfusion.train.loop.metrics import Metrics, OnMetrics
from vqfusion.train.loop.optimizers import make_optimizers
from vqfusion.train.loop.pace import Clock, fraction_done, learning_rate, steps_in_all
from vqfusion.train.loop.power_average import PowerAverage, save_snapshots
from vqfusion.train.loop.precision import choose, loss_in
from vqfusion.train.loop.signals import Interrupted, Signals
from vqfusion.train.loop.state import WeightAverage, load_state, save_state, training_tensors
from vqfusion.train.loop.steps import require_batch, share_of
from vqfusion.train.loop.telling import progress_bar, say, tell_changes
from vqfusion.train.loop.validation import Validation

LOG_EVERY = 20

OnSave = Callable[[int, int], None]
"""Called at a checkpoint before the end, with the step and the number of steps, while the module has averaged
weights."""


AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Trainable(Protocol):
    """A module with `loss(batch) -> (scalar, report)`."""

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Training loss of a batch, and values to report."""


class _Loss(nn.Module):
    """Wraps the loss of a module as its forward pass, to which distributed wrappers attach."""

    def __init__(self, module: nn.Module, arithmetic: Arithmetic):
        super().__init__()
        self.module = module
        self.arithmetic = arithmetic

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return loss_in(self.arithmetic, self.module, batch)


def fit(
    module: AnyModule,
    batches: Callable[[int, int, int], Any],
    stage: StageConfig,
    folder: Path,
    contract: str,
    accelerator: Accelerator,
    on_log: Callable[[int, float], None] | None = None,
    on_metrics: OnMetrics | None = None,
    on_save: OnSave | None = None,
    validation: Validation | None = None,
    record: Record | None = None,
    stop_after: int | None = None,
    show: bool = True,
) -> AnyModule:
    """Train a module and return it with averaged weights, in evaluation mode.

    The checkpoint `folder/state.safetensors` is written every `checkpoint_every_s` seconds, at the end, and on SIGINT
    or SIGTERM; metrics go to `folder/metrics.jsonl`. With `stage.snapshots`, averages for `power_average.averaged` are
    written to `folder/snapshots`.

    Args:
        module: The module, with a method `loss(batch)`.
        batches: Called as `batches(step, rank, processes)` for the share of this process in the batch of a step. It
            must depend on nothing else, so that a stopped run resumes exactly. Shares may differ in size; every item of
            the batch has the same weight.
        stage: Optimisation settings.
        folder: Folder of the checkpoint.
        contract: Config that the checkpoint belongs to, as JSON.
        accelerator: Processes and device.
        on_log: Called with step and fraction of the training that is behind, every `LOG_EVERY` steps; must not use
            global random generators.
        on_metrics: Called with the metrics.
        on_save: Called at checkpoints with averaged weights in the module, to save it.
        validation: Validates the module on the way; then the weights returned are the best.
        record: Told where the training stands.
        stop_after: Stop after this step, for tests.
        show: Show a progress bar.

    Returns:
        The module.

    Raises:
        UserError: The loss, its gradient or a weight is not finite; the previous checkpoint is kept.
    """
    device, first = accelerator.device, accelerator.is_main_process
    require_batch(stage.batch, accelerator.num_processes)
    module.to(device).train()
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizers = make_optimizers(module, stage)
    average = WeightAverage(module, stage.ema_decay)
    tracked = PowerAverage(module) if stage.snapshots else None
    checkpoint = folder / "state.safetensors"
    resumed = load_state(checkpoint, contract, module, average, optimizers, tracked)
    step = saved = resumed.step
    if step > stage.steps and not stage.minutes:
        raise UserError(f"{checkpoint}: has {step} steps behind it, more than `steps: {stage.steps}`; raise `steps`")
    if first and show:
        tell_changes(folder.name, resumed, stage)
    metrics = Metrics(folder, step, resumed.metrics, first, on_metrics)
    done = _together(fraction_done(stage, step, metrics.seconds), accelerator)
    if validation:
        validation.begin(step)
    ended = done >= 1 or bool(validation and validation.exhausted)
    wrapped, arithmetic = None, Arithmetic.of(resumed.arithmetic)
    if not ended:
        trying = stage.precision == "auto" and not resumed.arithmetic
        tried = batches(step, accelerator.process_index, accelerator.num_processes) if trying else None
        arithmetic, line = choose(module, tried, stage, stage.steps - step, resumed.arithmetic, accelerator)
        arithmetic.arrange(module)
        if first and line:
            say(f"{folder.name} {line}", show)
            write_bytes(folder / "precision.txt", f"{line}\n".encode())
        wrapped = accelerator.prepare_model(_Loss(module, arithmetic))
    quantizers = [m for m in module.modules() if isinstance(m, Quantizer)]
    watches = watch_usage(module) if first and show else []

    def save() -> None:
        state = metrics.state()
        if not first:
            return
        tensors = dict(training_tensors(module, average, optimizers, tracked))
        save_state(checkpoint, step, contract, stage, state, tensors, str(arithmetic))
        if on_save and not ended:
            with average.applied(module):
                on_save(step, steps_in_all(stage, step, done))
            module.train()

    saved_at, clock = time.monotonic(), Clock(device.type == "cpu" and accelerator.num_processes == 1)
    clock.tick(done)
    with Signals() as signals, _denormals_as_zero(), progress_bar(show and first) as progress:
        bar = progress.add_task(folder.name, total=steps_in_all(stage, step, done), completed=step, status="", left="")
        while wrapped is not None and not ended:
            batch = batches(step, accelerator.process_index, accelerator.num_processes)
            share = share_of(batch, accelerator)
            loss, report = wrapped(batch)
            accelerator.backward(loss * (share * accelerator.num_processes))  # of which the mean over processes is used
            norm = torch.nn.utils.clip_grad_norm_(parameters, stage.clip_norm or math.inf)
            finite = bool(torch.isfinite(loss.detach()) & torch.isfinite(norm))
            asked = signals.number is not None or step + 1 == stop_after
            due = time.monotonic() - saved_at > stage.checkpoint_every_s
            broken, stopped, due = _any_process((not finite, asked, due), accelerator)
            if broken:
                raise UserError(
                    f"{folder}: the loss or its gradient is not finite at step {step + 1} of {stage.steps}; "
                    f"the checkpoint of step {saved} is kept: lower learning_rate ({stage.learning_rate:g}) and give "
                    "the same command, or look for NaN in the data"
                )
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = rate = learning_rate(stage, step, done)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            for quantizer in quantizers:
                quantizer.update()
            average.update(module, step)
            if tracked:
                tracked.update(module, step)
                if (step + 1) * stage.snapshots // stage.steps > step * stage.snapshots // stage.steps and first:
                    save_snapshots(tracked.snapshots(step), folder / "snapshots")
            step += 1
            before, done = done, _together(fraction_done(stage, step, metrics.seconds), accelerator)
            metrics.add({"loss": loss.detach(), **report}, share)
            if validation and validation.due(before, done, stage.minutes is not None):
                with average.applied(module):
                    values = validation.look(step, module.eval()) if first else {}
                module.train()
                if on_metrics and first:
                    on_metrics(f"{folder.name}/validation", {"step": float(step), **values})
                (exhausted,) = _any_process((first and validation.exhausted,), accelerator)
                ended = ended or exhausted
            ended = ended or done >= 1
            if step % LOG_EVERY == 0 or ended:
                means = metrics.write(step, rate)
                progress.update(bar, status=" ".join(f"{k} {v:.3g}" for k, v in list(means.items())[:3]))
                if on_log and first:
                    on_log(step, 1.0 if ended else done)
                    module.train()
            clock.tick(done)
            in_all = step if ended else steps_in_all(stage, step, done)
            progress.update(bar, completed=step, total=in_all, left=left_in_words(clock.left_s, clock.processor))
            if record and first:
                record.stands(folder.name, step, in_all, 1.0 if ended else done, clock.left_s, clock.processor)
            if stopped or due or ended:
                save()
                saved, saved_at = step, time.monotonic()
            if stopped:
                usable = "; --model takes what it has learned so far" if on_save and not ended else ""
                raise Interrupted(
                    f"stopped at step {step} of {in_all}; nothing is lost, the same command goes on from there"
                    + usable,
                    128 + (signals.number or signal.SIGINT),
                )
    for watch in watches:
        watch.remove()
    average.copy_to(module)
    Arithmetic().arrange(module)
    if validation:
        accelerator.wait_for_everyone()  # until the first process has written the best weights
        validation.restore(module)
    accelerator.wait_for_everyone()  # nobody leaves while others still receive
    return module.eval()


@contextmanager
def _denormals_as_zero() -> Iterator[None]:
    """Context without denormal numbers, which slow processors down: momentum without gradients decays to them."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _any_process(flags: tuple[bool, ...], accelerator: Accelerator) -> tuple[bool, ...]:
    """Flags that are set in any process, so that all processes act alike."""
    if accelerator.num_processes == 1:
        return flags
    counts = accelerator.reduce(torch.tensor(flags, dtype=torch.float32, device=accelerator.device))
    return tuple(bool(count > 0) for count in counts)


def _together(fraction: float, accelerator: Accelerator) -> float:
    """Fraction of the first process, which all processes use, since their clocks differ."""
    if accelerator.num_processes == 1:
        return fraction
    own = fraction if accelerator.is_main_process else 0.0
    return float(accelerator.reduce(torch.tensor(own, dtype=torch.float64, device=accelerator.device)))
