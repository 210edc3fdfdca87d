"""Training of a whole chain: raw data -> tokenizers -> tokens -> Fusion -> a saved System."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from vqfusion.config import ChainConfig, LabelTokenizerConfig, StageConfig
from vqfusion.data import Dataset
from vqfusion.diffusion.noise import torch_seed
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.pretrained import Parts
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.models.fusion.taught import Taught
from vqfusion.nn.weights import fingerprint, load_json, round_to_half
from vqfusion.runs.record import Record
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.train.codec.entropy import add_entropy_model
from vqfusion.train.codec.familiarity import add_familiarity
from vqfusion.train.codec.tokenizers import train_tokenizer
from vqfusion.train.fusion.budget import Budget
from vqfusion.train.fusion.data import check, open_data
from vqfusion.train.fusion.draws import DrawSource
from vqfusion.train.fusion.held_out import MOST_RECORDS, HeldOut, held_out_tokens, tell_outcome
from vqfusion.train.fusion.start import adopted_tokenizers, copy_weights, require_same_size
from vqfusion.train.fusion.temperature import calibrated
from vqfusion.train.fusion.views import tokenize_records
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import OnSave, fit
from vqfusion.train.loop.metrics import OnMetrics
from vqfusion.train.loop.run import RunFolder
from vqfusion.train.loop.steps import require_batch
from vqfusion.train.loop.validation import Validation

OnLog = Callable[[int, float, System], None]


def train(
    training: ChainConfig,
    folder: Path,
    accelerator: Accelerator | None = None,
    data: Dataset | None = None,
    on_metrics: OnMetrics | None = None,
    start: Path | None = None,
    on_log: OnLog | None = None,
    started: float | None = None,
) -> System:
    """Train everything that a chain names and save the System to a folder; resumes where it was stopped.

    Each tokenizer gets the entropy model of its codes, for the codec. A chain without slots ends there. A run that was
    stopped leaves what it has trained as a System that is marked as unfinished: tokenizers first, Fusion later. Runs in
    one process or under `accelerate launch` / torchrun; every process reads the data.

    Args:
        training: What is trained, and how.
        folder: The folder of the run and of the System.
        accelerator: Processes and device; None takes what there is.
        data: What `open_data` gave; None opens what the config names.
        on_metrics: Sees the metrics of every stage.
        start: Folder of a trained System whose tokenizers and weights are the beginning.
        on_log: Sees step, fraction of the training and the System as it is while Fusion trains.
        started: `time.monotonic()` from which the minutes of the config count; None for now.

    Returns:
        The trained System.
    """
    begin = beginning(training, start) if start else None
    accelerator = accelerator or make_accelerator(None)
    data = data or open_data(training)
    check(training, data)
    with run_folder(training, folder).held(accelerator) as record:
        budget = Budget(training, folder, time.monotonic() if started is None else started)
        return _train(training, folder, accelerator, data, on_log, on_metrics, begin, budget, record)


def beginning(training: ChainConfig, start: Path) -> Parts:
    """The System to start from; UserError where its transformer is of another size."""
    begin: Parts = System.from_pretrained(start).parts
    require_same_size(training, begin)
    return begin


def run_folder(training: ChainConfig, folder: Path) -> RunFolder:
    """The folder of the training of a chain."""
    return RunFolder(folder, "chain", training, settled={"fusion": "tokenizer_stages"})


def _train(
    chain: ChainConfig,
    folder: Path,
    accelerator: Accelerator,
    dataset: Dataset,
    on_log: OnLog | None,
    on_metrics: OnMetrics | None,
    begin: Parts | None,
    budget: Budget,
    record: Record,
) -> System:
    """The training of a chain whose folder is held."""
    run, processes = run_folder(chain, folder), accelerator.num_processes
    if chain.fusion.slots:
        for draw in chain.draws:
            require_batch(draw.batch or chain.fusion_stage.batch, processes)
    chain, tokenizers = adopted_tokenizers(chain, begin) if begin else (chain, {})
    trained: dict[str, BaseTokenizer] = {}
    timed = chain.model_copy(
        update={"tokenizer_stages": {name: budget.tokenizer_stage(name) for name in chain.tokenizer_stages}}
    )
    for name in chain.tokenizers:
        torch.manual_seed(torch_seed(chain.seed))
        on_save = partial(_on_save, run, chain, trained, name)
        tokenizer = tokenizers.get(name) or train_tokenizer(
            name, timed, dataset, folder / f"tokenizer-{name}", accelerator, on_metrics, on_save, record
        )
        if isinstance(tokenizer, torch.nn.Module):
            round_to_half(tokenizer)
        tokenizer.entropy_model = tokenizer.familiarity = None  # those of an adopted tokenizer are of other data
        if accelerator.is_main_process:
            tokenizer.write(folder, name)
            add_entropy_model(tokenizer, name, dataset, chain, folder)
            add_familiarity(tokenizer, name, dataset, chain, folder)
        tokenizers[name] = trained[name] = tokenizer
        if accelerator.is_main_process and not _held(folder, name, tokenizer):
            stage = chain.tokenizer_stages.get(name)
            steps = stage.steps if stage else 1  # a vocabulary is counted at once
            _on_save(run, chain, trained, name, tokenizer)(steps, steps)
    chain = with_untrained_pairs(with_names(chain, tokenizers), dataset)
    slots = SlotTokenizers(chain, tokenizers)
    if not chain.fusion.slots:
        return _saved(System(chain, slots, None), run, accelerator)
    limited = dataset.limited(chain.limit_keys)
    wanted = dataset if any(row.all_keys for row in chain.draws) else limited
    first = accelerator.is_main_process
    records = tokenize_records(wanted, slots, chain, cache=folder / "tokens.safetensors", first=first)
    torch.manual_seed(torch_seed(chain.seed))
    fusion = Fusion(chain.fusion, slots.vocabularies, slots.codebooks)
    if begin and begin.fusion is not None:
        copy_weights(fusion, tokenizers, begin)
    keys = frozenset(record.key for record in limited.select(split="train"))
    source = DrawSource(records, chain, dataset.held_out_pairs, keys)
    contract = [chain.model_dump(mode="json"), {n: t.fingerprint() for n, t in tokenizers.items()}]
    if begin and begin.fusion is not None:
        contract.append(fingerprint(begin.fusion.state_dict(), "start"))

    def batches(step: int, rank: int, processes: int):
        return [draw.to(accelerator.device) for draw in source(step, rank, processes)]

    taught = Taught.of(limited.select(split="train"), [name for name in chain.fusion.slots if name.startswith("text:")])
    hook = (lambda step, done: on_log(step, done, System(chain, slots, fusion))) if on_log else None
    stage = budget.fusion_stage()
    validation = _validation(chain, stage, limited, slots, folder / "fusion")
    fit(
        fusion,
        batches,
        stage,
        folder / "fusion",
        json.dumps(contract),
        accelerator,
        hook,
        on_metrics,
        run.on_save("fusion", lambda: System(chain, slots, fusion, taught).save_pretrained(folder)),
        validation,
        record,
    )
    if validation and first:
        tell_outcome(validation, HeldOut(records[:MOST_RECORDS], chain, dataset.held_out_pairs), fusion, folder)
    round_to_half(fusion)
    return _saved(calibrated(System(chain, slots, fusion, taught), limited), run, accelerator)


def _validation(
    chain: ChainConfig, stage: StageConfig, dataset: Dataset, slots: SlotTokenizers, folder: Path
) -> Validation | None:
    """Validation of Fusion on the val part; None where it is not asked for, or nothing there can be measured."""
    if not stage.validations or not dataset.select(split="val"):
        return None
    measure = HeldOut(held_out_tokens(dataset, slots, chain, "val"), chain, dataset.held_out_pairs)
    return Validation(folder, measure, stage.validations, stage.patience) if measure.weighted else None


def _on_save(
    run: RunFolder, chain: ChainConfig, trained: dict[str, BaseTokenizer], name: str, tokenizer: BaseTokenizer
) -> OnSave:
    """Saves the tokenizers that are trained and the one that is in training, as a System without Fusion."""
    made = {**trained, name: tokenizer}
    some = chain.model_copy(
        update={
            "tokenizers": {one: config for one, config in chain.tokenizers.items() if one in made},
            "tokenizer_stages": {one: stage for one, stage in chain.tokenizer_stages.items() if one in made},
            "fusion": chain.fusion.model_copy(update={"slots": {}}),
            "draws": (),
        }
    )

    def save() -> None:
        named = with_names(some, made)
        System(named, SlotTokenizers(named, made), None).save_pretrained(run.path)

    return run.on_save(f"tokenizer {name}", save)


def _held(folder: Path, name: str, tokenizer: BaseTokenizer) -> bool:
    """Whether the System in the folder has this tokenizer as it is."""
    if not (folder / "config.json").exists():
        return False
    held = load_json(folder / "config.json").get("fingerprints")
    return isinstance(held, dict) and held.get(name) == tokenizer.fingerprint()


def _saved(system: System, run: RunFolder, accelerator: Accelerator) -> System:
    run.finish(accelerator, lambda: system.save_pretrained(run.path))
    return system


def with_names(chain: ChainConfig, tokenizers: dict) -> ChainConfig:
    """The chain with the names of its label tokenizers filled in."""
    filled = {
        name: LabelTokenizerConfig(names=tokenizers[name].names) if isinstance(config, LabelTokenizerConfig) else config
        for name, config in chain.tokenizers.items()
    }
    return chain.model_copy(update={"tokenizers": filled})


def with_untrained_pairs(chain: ChainConfig, dataset: Dataset) -> ChainConfig:
    """The chain with the held-out pairs of its languages filled in."""
    pairs = sorted(tuple(sorted(pair)) for pair in dataset.held_out_pairs if pair <= set(chain.languages))
    return chain.model_copy(update={"untrained_pairs": tuple(pairs)})
