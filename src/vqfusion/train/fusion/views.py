"""Records as tokens: all views of all training records, computed once and cached on disk."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from vqfusion.config import ChainConfig
from vqfusion.data import Dataset
from vqfusion.data.record import Record
from vqfusion.data.transforms import add_noise, add_noise_at_snr, fit_picture
from vqfusion.models.fusion.slot_tokenizers import SlotTokenizers
from vqfusion.models.fusion.slots import SlotName
from vqfusion.nn.weights import load_with_metadata, save_weights
from vqfusion.train.codec.augment import vary_picture, vary_sound
from vqfusion.train.fusion.draws import TokenRecord
from vqfusion.train.loop.steps import step_generator
from vqfusion.types import Sample

RECORDS_AT_ONCE = 256
VALUES_AT_ONCE = 2**26  # samples and pixels in memory at once


def _noisy_picture(clean: Sample, chain: ChainConfig, generator: torch.Generator) -> Sample:
    return Sample("image", add_noise(clean.data, chain.image_noise_sigma, generator).clamp(0, 1))


def _noisy_sound(clean: Sample, chain: ChainConfig, generator: torch.Generator) -> Sample:
    noisy = add_noise_at_snr(clean.data, chain.audio_noise_snr_db, generator).clamp(-1, 1)
    return Sample("audio", noisy, sample_rate_hz=clean.sample_rate_hz)


# by modality and view: how a view is made where a record does not hold it
VIEWS = {("image", "noisy"): _noisy_picture, ("audio", "noisy"): _noisy_sound}


def made_from(name: str) -> str | None:
    """Slot that a view can be made from: one in `VIEWS`, or a number of pixels a side; None for other slots."""
    slot = SlotName.parse(name)
    can_be = slot.view is not None and (slot.view.isdigit() or (slot.modality, slot.view) in VIEWS)
    return slot.modality if can_be else None


def tokenize_records(
    dataset: Dataset,
    slots: SlotTokenizers,
    chain: ChainConfig,
    split: str = "train",
    cache: Path | None = None,
    first: bool = True,
) -> list[TokenRecord]:
    """Tokenize every record of a split, with `chain.views_per_sample` variants of pictures and sounds.

    Variant 0 is the original, with pictures at the size of the chain. Texts and sounds that do not fit their slot are
    left out.

    Args:
        dataset: Data set.
        slots: Tokenizers.
        chain: Config of the chain.
        split: Split of the data set.
        cache: File that is reused where it was made with the same tokenizers, slots and data.
        first: Whether this process writes the cache and reports what was left out.

    Returns:
        The records as tokens.
    """
    records = dataset.select(split=split)
    contract = json.dumps([
        chain.data, chain.limit_keys, chain.seed, split, chain.views_per_sample, len(records),
        {name: tokenizer.fingerprint() for name, tokenizer in slots.by_name.items()},
        {name: [slot.shape, slot.patch, *([slot.features] if slot.features else [])]
         for name, slot in chain.fusion.slots.items()},
    ])  # fmt: skip
    if cache and (stored := _load(cache, contract)) is not None:
        return stored
    out: list[TokenRecord] = []
    misfits: Counter[str] = Counter()
    console = Console(stderr=True)
    cut: Counter[str] = Counter()
    with Progress(console=console, transient=True) as progress:
        rows: list[Row] = []
        held = done = 0
        for record in progress.track(records, description="tokens"):
            for row in _rows(record, slots, chain, cut):
                rows.append(row)
                held += sum(one.data.numel() for one in row.samples.values() if isinstance(one.data, Tensor))
            if len(rows) >= RECORDS_AT_ONCE or held > VALUES_AT_ONCE or record is records[-1]:
                out += _tokenize(rows, done, slots, chain, misfits)
                done += len(rows)
                rows, held = [], 0
    if not first:
        return out
    for name, count in cut.items():
        if count:
            have = sum(name in record.slots for record in records)
            longest = _longest(name, slots)
            console.print(f"{name}: {count} of {have} longer than {longest}, learned in pieces", soft_wrap=True)
    for name, count in misfits.items():
        have = sum(name in record.slots for record in records)
        longest = _longest(name, slots)
        console.print(f"{name}: {count} of {have} left out, empty or longer than {longest}", soft_wrap=True)
    if cache:
        _save(cache, contract, out)
    return out


def _longest(name: str, slots: SlotTokenizers) -> str:
    """Largest sample that fits a slot, in words."""
    if SlotName.parse(name).modality == "audio":
        return f"{slots.longest_s(name):.2g} s"
    return f"{slots.config.fusion.slots[name].shape[0]} tokens"


@dataclass(frozen=True)
class Row:
    """A record, or a piece of one, with the samples of its slots."""

    record: Record
    samples: dict[str, Sample]


def _rows(record: Record, slots: SlotTokenizers, chain: ChainConfig, cut: Counter[str]) -> list[Row]:
    """A record as it is, or where its one sequence is longer than its slot, the pieces of it, each with its labels.

    Pieces of a sequence beside another one would not be aligned with it, so that such a record stays whole.
    """
    wanted = [name for name, slot in chain.fusion.slots.items() if not slot.is_length]
    base = {name: _loaded(record, name, slots, chain) for name in wanted if name in record.slots}
    sequences = [name for name in base if chain.fusion.slots[name].shape != (1,)]
    if len(sequences) != 1 or chain.fusion.has_table(chain.fusion.slots[sequences[0]]):
        return [Row(record, base)]
    (name,) = sequences
    pieces = slots.pieces(name, base[name])
    cut[name] += len(pieces) > 1
    return [Row(record, {**base, name: piece}) for piece in pieces]


def _tokenize(
    rows: list[Row], first: int, slots: SlotTokenizers, chain: ChainConfig, misfits: Counter[str]
) -> list[TokenRecord]:
    """Tokenize some rows; samples that do not fit their slot are counted in `misfits`."""
    wanted = [name for name, slot in chain.fusion.slots.items() if not slot.is_length]
    samples: dict[str, list[tuple[int, int, Sample]]] = {name: [] for name in wanted}
    tokens: list[list[dict[str, Tensor]]] = []
    for place, row in enumerate(rows):
        base = row.samples
        own_views = any("@" in name for name in base)  # which could not be varied as what they are views of
        variants = chain.views_per_sample if {"image", "audio"} & base.keys() and not own_views else 1
        tokens.append([{} for _ in range(variants)])
        for variant in range(variants):
            generator = step_generator(chain.seed, first + place, variant)
            for name, sample in _views(base, wanted, chain, generator, augment=variant > 0).items():
                samples[name].append((place, variant, sample))
    for name, items in samples.items():
        if items:
            encoded = slots.encode_fitting(name, [sample for *_, sample in items])
            for (place, variant, _), ids in zip(items, encoded, strict=True):
                if ids is not None:
                    tokens[place][variant][name] = ids
                elif variant == 0 and name in rows[place].samples:
                    misfits[name] += 1
    heard = [name for name, slot in chain.fusion.slots.items() if slot.features]
    return [
        TokenRecord(
            row.record.key,
            tuple(v for v in variants if v.keys() == variants[0].keys()),
            {name: slots.given(name, [row.samples[name]])[0].half() for name in heard if name in variants[0]},
        )
        for row, variants in zip(rows, tokens, strict=True)
        if variants[0]
    ]


def _loaded(record: Record, name: str, slots: SlotTokenizers, chain: ChainConfig) -> Sample:
    """Sample of a slot, reduced to the needed size, since many are held in memory; sounds that are too long stay so.

    A sound that will be cut into pieces stays whole.
    """
    sample, modality = record.load(name), SlotName.parse(name).modality
    if modality == "image":
        return Sample("image", fit_picture(sample.data, chain.image_size))
    if modality == "audio" and chain.fusion.has_table(chain.fusion.slots[name]):
        most = int(2 * slots.longest_s(name) * (sample.sample_rate_hz or 1))
        return replace(sample, data=sample.data[:, :most].clone())
    return sample


def _views(
    base: dict[str, Sample], wanted: list[str], chain: ChainConfig, generator: torch.Generator, augment: bool
) -> dict[str, Sample]:
    """Samples of a record and the views of them that the slots need."""
    out = dict(base)
    if augment and "image" in out:
        out["image"] = Sample("image", vary_picture(out["image"].data, generator, keep_meaning=True))
    if augment and "audio" in out:
        sound = out["audio"]
        varied = vary_sound(sound.data, sound.data.shape[1], generator, crop=False)
        out["audio"] = Sample("audio", varied, sample_rate_hz=sound.sample_rate_hz)
    for name in wanted:
        source = made_from(name)
        if name in base or source is None or source not in out:
            continue
        make = VIEWS.get((source, SlotName.parse(name).view or ""))
        # a smaller view of a picture follows from the size of its slot
        out[name] = make(out[source], chain, generator) if make else out[source]
    return out


def _save(path: Path, contract: str, records: list[TokenRecord]) -> None:
    index = [[r.key, [{name: list(ids.shape) for name, ids in v.items()} for v in r.variants]] for r in records]
    flat = [ids.flatten() for r in records for v in r.variants for ids in v.values()]
    tensors = {"ids": torch.cat(flat).to(torch.int32)}
    frames = [{name: list(one.shape) for name, one in r.features.items()} for r in records]
    if any(frames):
        tensors["features"] = torch.cat([one.flatten() for r in records for one in r.features.values()])
    metadata = {"contract": contract, "index": json.dumps(index), "features": json.dumps(frames)}
    save_weights(path, tensors, metadata)


def _load(path: Path, contract: str) -> list[TokenRecord] | None:
    if not path.exists():
        return None
    tensors, metadata = load_with_metadata(path)
    if metadata.get("contract") != contract:
        return None
    ids = tensors["ids"].long()
    out, at, from_frame = [], 0, 0
    every = json.loads(metadata.get("features", "[]"))
    for number, (key, variants) in enumerate(json.loads(metadata["index"])):
        tokens = []
        for shapes in variants:
            grids = {}
            for name, shape in shapes.items():
                size = int(torch.tensor(shape).prod())
                grids[name] = ids[at : at + size].reshape(shape)
                at += size
            tokens.append(grids)
        features = {}
        for name, shape in (every[number] if every else {}).items():
            size = shape[0] * shape[1]
            features[name] = tensors["features"][from_frame : from_frame + size].reshape(shape)
            from_frame += size
        out.append(TokenRecord(key, tuple(tokens), features))
    return out
