"""Training of a latent diffusion model: its tokenizer, trained or taken over, then the denoiser of its latents."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator

from vqfusion.config import ChainConfig, LatentTrainingConfig
from vqfusion.data import Dataset
from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.models.codec.codec import Codec
from vqfusion.models.latent.latent_diffusion import LatentBatch, LatentDiffusion
from vqfusion.nn.weights import fingerprint, round_to_half
from vqfusion.runs.record import Record
from vqfusion.tokenizers.signal import SignalTokenizer
from vqfusion.train.codec.tokenizers import label_names, train_tokenizer
from vqfusion.train.latent.data import (
    LabelledSignals,
    check,
    kind_of_tokenizer,
    latent_batches,
    load_labelled,
    open_data,
)
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.metrics import OnMetrics
from vqfusion.train.loop.run import RunFolder

SHOWN = 256  # signals on which means and standard deviations of latents are measured


def train(
    training: LatentTrainingConfig,
    folder: Path,
    accelerator: Accelerator | None = None,
    data: Dataset | None = None,
    on_metrics: OnMetrics | None = None,
    start: Path | None = None,
    stop_after: int | None = None,
    show: bool = True,
) -> LatentDiffusion:
    """Train a latent diffusion and save it to a folder; resumes where it was stopped.

    A run that was stopped leaves the average of its weights as a model that is marked as unfinished.

    Args:
        training: What is trained, and how.
        folder: The folder of the run and of the model.
        accelerator: Processes and device; None takes what there is.
        data: What `open_data` gave; None opens what the config names.
        on_metrics: Sees the metrics.
        start: Folder of a model whose tokenizer of the same kind is taken as it is.
        stop_after: Step of the denoiser after which to stop, as at a signal.
        show: Whether to show progress.

    Returns:
        The trained model.
    """
    accelerator = accelerator or make_accelerator(None)
    tokenizer = beginning(training, start) if start else None
    data = data or open_data(training)
    check(training, data)
    with run_folder(training, folder).held(accelerator) as record:
        return _train(training, folder, accelerator, data, on_metrics, record, tokenizer, stop_after, show)


def run_folder(training: LatentTrainingConfig, folder: Path) -> RunFolder:
    """The folder of the training of a latent diffusion."""
    return RunFolder(folder, "latent", training, ("tokenizer", "latent"), {"latent": "tokenizer_stage"})


def _train(
    training: LatentTrainingConfig,
    folder: Path,
    accelerator: Accelerator,
    data: Dataset,
    on_metrics: OnMetrics | None,
    record: Record,
    tokenizer: SignalTokenizer | None,
    stop_after: int | None,
    show: bool,
) -> LatentDiffusion:
    """The training of a latent diffusion whose folder is held."""
    run = run_folder(training, folder)
    classes = label_names(data, training.label) if training.label else ()
    tokenizer = tokenizer or _trained(training, data, folder, accelerator, on_metrics, record)
    tokenizer.to(accelerator.device)
    latent = training.latent.model_copy(update={"tokenizer": tokenizer.config, "classes": classes})
    training = training.model_copy(update={"latent": latent})
    signals = load_labelled(training, data, tokenizer)
    torch.manual_seed(torch_seed(training.seed))
    model, source = fresh_model(training, signals, tokenizer)
    contract = json.dumps([training.model_dump(mode="json"), fingerprint(tokenizer.state_dict(), "")])

    def batches(step: int, rank: int, processes: int) -> LatentBatch:
        return source(step, rank, processes).to(accelerator.device)

    fit(
        model,
        batches,
        training.stage,
        folder / "latent",
        contract,
        accelerator,
        on_metrics=on_metrics,
        on_save=run.on_save("latent", lambda: model.save_pretrained(folder)),
        record=record,
        stop_after=stop_after,
        show=show,
    )
    run.finish(accelerator, lambda: model.save_pretrained(folder))
    return model


def fresh_model(
    training: LatentTrainingConfig, data: LabelledSignals, tokenizer: SignalTokenizer
) -> tuple[LatentDiffusion, Callable[[int, int, int], LatentBatch]]:
    """Untrained model with standardised latents, and its training batches."""
    source = latent_batches(data, training, flat=tokenizer.flat)
    shown = [source(training.stage.steps + i, 0, 1).signal for i in range(-(-SHOWN // training.stage.batch))]
    grid = tuple(tokenizer.to_latents(shown[0][:1].to(tokenizer.device)).shape[2:])
    model: LatentDiffusion = LatentDiffusion.from_config(training.latent.model_copy(update={"grid": grid}), tokenizer)
    model.to(tokenizer.device).standardise(shown)
    return model, source


def beginning(training: LatentTrainingConfig, start: Path) -> SignalTokenizer:
    """The tokenizer to start from; UserError where the model has none of the kind that is trained."""
    kind = kind_of_tokenizer(training.latent)
    for tokenizer in Codec.from_pretrained(start).slots.by_name.values():
        if isinstance(tokenizer, SignalTokenizer) and tokenizer.config.kind == kind:
            return tokenizer
    raise UserError(f"{start}: has no {kind} tokenizer to start from")


def tokenizer_chain(training: LatentTrainingConfig) -> ChainConfig:
    """Chain that trains the tokenizer only."""
    kind = kind_of_tokenizer(training.latent)
    return ChainConfig(
        name=training.name,
        data=training.data,
        seed=training.seed,
        image_size=training.image_size,
        tokenizers={kind: training.latent.tokenizer},  # type: ignore[dict-item]
        tokenizer_stages={kind: training.tokenizer_stage},
    )


def _trained(
    training: LatentTrainingConfig,
    data: Dataset,
    folder: Path,
    accelerator: Accelerator,
    on_metrics: OnMetrics | None,
    record: Record,
) -> SignalTokenizer:
    """Train the tokenizer of the model."""
    kind, chain = kind_of_tokenizer(training.latent), tokenizer_chain(training)
    torch.manual_seed(torch_seed(training.seed))
    tokenizer = train_tokenizer(kind, chain, data, folder / "tokenizer", accelerator, on_metrics, record=record)
    assert isinstance(tokenizer, SignalTokenizer)
    round_to_half(tokenizer)
    return tokenizer
