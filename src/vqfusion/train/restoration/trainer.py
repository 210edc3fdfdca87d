"""Training of a prior on noisy crops of raw data, by the training loop."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from jaxtyping import Float
from rich.console import Console
from torch import Tensor, nn

from vqfusion.config import PriorConfig, PriorTrainingConfig
from vqfusion.data import Dataset
from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.models.restoration.prior import NoisyBatch, Prior
from vqfusion.nn.weights import fingerprint, load_weights, round_to_half
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.metrics import OnMetrics
from vqfusion.train.loop.run import RunFolder
from vqfusion.train.loop.steps import share, step_generator
from vqfusion.train.restoration.damage import damaged_crop
from vqfusion.train.restoration.data import load_signals, open_data
from vqfusion.train.restoration.distillation import load_teacher, taught_by
from vqfusion.train.restoration.noisy.choose import choose
from vqfusion.train.restoration.noisy.lessons import Taught, lessons
from vqfusion.train.restoration.noisy.signals import load

Signals = Sequence[Tensor]


def noisy_batches(signals: Signals, training: PriorTrainingConfig) -> Callable[[int, int, int], NoisyBatch]:
    """Batches of damaged random crops `[C, *crop]`, determined by the step.

    Signals `[C, *size]` are uint8 of 0 to 255, or floats; larger ones are drawn more often. Noise levels and kinds of
    damage are stratified over the batch.
    """
    channels = {signal.shape[0] for signal in signals}
    if channels != {training.prior.channels}:
        raise UserError(f"the prior takes {training.prior.channels} channels and the data have {sorted(channels)}")
    weights = torch.tensor([float(signal[0].numel()) ** 0.5 for signal in signals])

    def batches(step: int, rank: int, processes: int) -> NoisyBatch:
        crop, batch = crop_and_batch(training, step)
        common = step_generator(training.seed, step, batch)
        places, kinds = (
            (torch.randperm(batch, generator=common) + torch.rand(batch, generator=common)) / batch for _ in range(2)
        )
        told = torch.rand(batch, generator=common) >= training.blind
        sigma = noise_levels(places, training.focus, training.prior.sigma_range)
        items = []
        for item in share(range(batch), rank, processes):
            generator = step_generator(training.seed, step, item)
            drawn = float(sigma[item]), bool(told[item]), float(kinds[item])
            items.append(damaged_crop(signals, weights, training, crop, *drawn, generator))
        return NoisyBatch(*(torch.stack(parts) for parts in zip(*items, strict=True)))

    return batches


def crop_and_batch(training: PriorTrainingConfig, step: int) -> tuple[int, int]:
    """Side of the crops of a step, and their number."""
    late, batch = training.late_crop, training.stage.batch
    if late is None or step < 0.75 * training.stage.steps:
        return training.crop, batch
    return late, max(1, round(batch * (training.crop / late) ** training.prior.rank))


def noise_levels(
    places: Float[Tensor, " B"], focus: tuple[float, float], whole: tuple[float, float], share: float = 0.75
) -> Float[Tensor, " B"]:
    """Noise levels from uniform numbers: a fraction `share` uniform in `focus`, the rest log-uniform in `whole`.

    Args:
        places: Uniform numbers in [0, 1).
        focus: Range of the uniform part.
        whole: Range of the log-uniform part.
        share: Fraction of the uniform part.

    Returns:
        Noise levels.
    """
    inner = focus[0] + (focus[1] - focus[0]) * (places / share)
    outer = whole[0] * (whole[1] / whole[0]) ** ((places - share) / (1 - share))
    return torch.where(places < share, inner, outer)


def train(
    training: PriorTrainingConfig,
    folder: Path,
    accelerator: Accelerator | None = None,
    data: Dataset | None = None,
    on_metrics: OnMetrics | None = None,
    start: Path | None = None,
    stop_after: int | None = None,
    show: bool = True,
    teacher: Path | None = None,
) -> Prior:
    """Train a prior and save it to `folder`; resumes where it was stopped.

    A stopped run leaves a prior with averaged weights that is marked as unfinished.

    Args:
        training: Config of the training.
        folder: Folder of the training.
        accelerator: Processes and device; None takes what there is.
        data: What `open_data` gave; None opens what the config names.
        on_metrics: Called with metrics.
        start: Folder of a trained prior of the same config whose weights are the start.
        stop_after: Stop after this step, for tests.
        show: Show a progress bar.
        teacher: Folder of the prior that `training.distill` names.

    Returns:
        The prior.
    """
    accelerator = accelerator or make_accelerator(None)
    if training.distill and teacher is None:
        raise UserError(f"distill: give the folder of {training.distill} as teacher")
    master = load_teacher(training, teacher).to(accelerator.device) if teacher else None
    first = beginning(training, start) if start else None
    data = data or open_data(training)
    config = _config(training)
    module: Callable[[Prior], nn.Module] = _itself
    source: Callable[[int, int, int], Any]
    if training.prior.clean:
        source = noisy_batches(load_signals(training, data), training)
    else:
        noisy = load(training, data)
        chosen = choose(training, noisy)
        if accelerator.is_main_process and show:
            for line in (chosen.reason, *chosen.lines):
                Console(stderr=True).print(line, soft_wrap=True, highlight=False)
        learned = ("uneven",) if chosen.noise.method == "recorrupted" else ()
        config = config.model_copy(update={"noise": chosen.noise, "learned": learned})
        source, module = lessons(noisy, chosen, training), Taught
    torch.manual_seed(torch_seed(training.seed))
    prior = Prior(config)

    def batches(step: int, rank: int, processes: int) -> Any:
        return source(step, rank, processes).to(accelerator.device)

    given = taught_by(master, batches) if master is not None else batches
    contract: Any = training.model_dump(mode="json")
    if master is not None:
        contract = [contract, fingerprint(master.state_dict(), "teacher")]
    if first is not None:
        prior.load_state_dict(first.state_dict())
        contract = [contract, fingerprint(first.state_dict(), "start")]
    run = run_folder(training, folder)
    with run.held(accelerator) as record:
        fit(
            module(prior),
            given,
            training.stage,
            folder / "training",
            json.dumps(contract),
            accelerator,
            on_metrics=on_metrics,
            on_save=run.on_save("prior", lambda: prior.save_pretrained(folder)),
            record=record,
            stop_after=stop_after,
            show=show,
        )
        round_to_half(prior)
        run.finish(accelerator, lambda: prior.save_pretrained(folder))
    return prior


def _itself(prior: Prior) -> Prior:
    return prior


def beginning(training: PriorTrainingConfig, start: Path) -> Prior:
    """Prior to start from; UserError where it has another config."""
    prior: Prior = Prior.from_pretrained(start)
    config = _config(training)
    same = {name: getattr(config, name) for name in ("learned", "clean", "noise")}
    if prior.config.model_copy(update=same) != config:
        raise UserError("the prior to start from has another config; give `prior` of the YAML the same values")
    return prior


def _config(training: PriorTrainingConfig) -> PriorConfig:
    """Config of the prior, with what the training teaches it."""
    learned = tuple(name for name in ("grey", "holes", "uneven", "camera") if getattr(training, name))
    return training.prior.model_copy(update={"learned": learned})


def run_folder(training: PriorTrainingConfig, folder: Path) -> RunFolder:
    """Folder of the training of a prior."""
    return RunFolder(folder, "prior", training, parts=("training",))


def averaged_so_far(training: PriorTrainingConfig, folder: Path) -> Prior:
    """Prior with the averaged weights of the last checkpoint of a training, which may still be running."""
    prior = Prior(training.prior)
    tensors = load_weights(folder / "training" / "state.safetensors")
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            parameter.copy_(tensors[f"average/{name}"])
    return prior.eval()
