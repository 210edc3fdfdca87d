"""Training of a whole chain: raw data -> tokenizers -> tokens -> Fusion -> a saved System."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator

from vqfusion.config import ChainConfig, LabelTokenizerConfig
from vqfusion.data import Dataset, open_dataset
from vqfusion.diffusion.noise import torch_seed
from vqfusion.models.fusion.fusion import Fusion
from vqfusion.models.fusion.pretrained import Parts
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.system import System
from vqfusion.models.fusion.taught import Taught
from vqfusion.nn.weights import fingerprint, round_to_half
from vqfusion.train.codec.entropy import add_entropy_model
from vqfusion.train.codec.tokenizers import train_tokenizer
from vqfusion.train.fusion.draws import DrawSource
from vqfusion.train.fusion.start import adopted_tokenizers, copy_weights, require_same_size
from vqfusion.train.fusion.temperature import calibrated
from vqfusion.train.fusion.views import tokenize_records
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.metrics import OnMetrics
from vqfusion.train.loop.run import RunFolder
from vqfusion.train.loop.steps import require_batch


def train_chain(
    chain: ChainConfig,
    folder: Path,
    device: str | None = None,
    on_log: Callable[[int, System], None] | None = None,
    on_metrics: OnMetrics | None = None,
    accelerator: Accelerator | None = None,
    start: Path | None = None,
) -> System:
    """Train everything in a chain and save the System to `folder`; resumes where it was stopped.

    Each tokenizer also gets an entropy model for the codec. A chain without slots has tokenizers only. Runs in one
    process or under `accelerate launch` / torchrun; every process reads the data.

    Args:
        chain: Config of the chain.
        folder: Folder of the training.
        device: As in `vqfusion.load`.
        on_log: Called with step and System while Fusion trains.
        on_metrics: Called with the metrics of every stage.
        accelerator: Processes and device, in place of `device`.
        start: Folder of a trained system whose tokenizers and weights are the start.

    Returns:
        The system.
    """
    begin = System.from_pretrained(start).parts if start else None
    if begin:
        require_same_size(chain, begin)
    accelerator = accelerator or make_accelerator(device)
    with chain_folder(chain, folder).held(accelerator):
        return _train(chain, folder, accelerator, on_log, on_metrics, begin)


def chain_folder(chain: ChainConfig, folder: Path) -> RunFolder:
    """Folder of the training of a chain."""
    return RunFolder(folder, "chain", chain, settled={"fusion": "tokenizer_stages"})


def _train(
    chain: ChainConfig,
    folder: Path,
    accelerator: Accelerator,
    on_log: Callable[[int, System], None] | None,
    on_metrics: OnMetrics | None,
    begin: Parts | None,
) -> System:
    """Train a chain whose folder is locked."""
    run, processes = chain_folder(chain, folder), accelerator.num_processes
    if chain.fusion.slots:
        for draw in chain.draws:
            require_batch(draw.batch or chain.fusion_stage.batch, processes)
    dataset = open_dataset(chain.data)
    chain, tokenizers = adopted_tokenizers(chain, begin) if begin else (chain, {})
    for name in chain.tokenizers:
        torch.manual_seed(torch_seed(chain.seed))
        tokenizer = tokenizers.get(name) or train_tokenizer(
            name, chain, dataset, folder / f"tokenizer-{name}", accelerator, on_metrics
        )
        if isinstance(tokenizer, torch.nn.Module):
            round_to_half(tokenizer)
        tokenizer.entropy_model = None  # that of an adopted tokenizer was fitted to other data
        if accelerator.is_main_process:
            tokenizer.write(folder, name)
            add_entropy_model(tokenizer, name, dataset, chain, folder)
        tokenizers[name] = tokenizer
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
    hook = (lambda step, _: on_log(step, System(chain, slots, fusion))) if on_log else None
    fit(
        fusion,
        batches,
        chain.fusion_stage,
        folder / "fusion",
        json.dumps(contract),
        accelerator,
        hook,
        on_metrics,
        run.on_save("fusion", lambda: System(chain, slots, fusion, taught).save_pretrained(folder)),
    )
    round_to_half(fusion)
    return _saved(calibrated(System(chain, slots, fusion, taught), limited), run, accelerator)


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
