"""Smaller forms of a model, measured on one's own data, and the choice of one."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vqfusion.compress.measures import Measure, measure_of
from vqfusion.compress.moments import in_parts, layers_of, moments
from vqfusion.compress.rounding import is_packable, rounded
from vqfusion.data import Record
from vqfusion.data.record import by_hash
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.nn.few_bits import Packed, packed_tensors
from vqfusion.nn.weights import half_precision, save_weights

FORMS = ((8, 2**20), (6, 64), (5, 64), (4, 64))  # bits, and neighbours in a row that share a factor
MOST = 16  # records of a part
REPORT = "compress.json"


@dataclass(frozen=True)
class Form:
    """One form of the model.

    Attributes:
        name: In words.
        mib: Size of the weights, in MiB.
        score: Its measure on the records for choosing.
        loss: How much worse than the model as it is, in the unit of the measure.
        seconds: Seconds of the processor that measuring took.
    """

    name: str
    mib: float
    score: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Compressed:
    """What was tried, and which form was written.

    Attributes:
        measure: What was measured.
        unit: Its unit.
        forms: All forms, the model as it is first.
        chosen: Name of the form that was written.
        tested: Its loss on records that neither rounding nor choice has seen, in the unit.
    """

    measure: str
    unit: str
    forms: list[Form]
    chosen: str
    tested: float


def parts_of(records: Sequence[Record]) -> tuple[list[Record], list[Record], list[Record]]:
    """Records for rounding, for choosing and for a test, by a hash of their keys; UserError below three keys."""
    keys = sorted({one.key for one in records}, key=by_hash)
    if len(keys) < 3:
        raise UserError(f"the data hold {len(keys)} records that fit the model; 3 are the least, 30 are better")
    place = {key: i % 3 for i, key in enumerate(keys)}
    ordered = sorted(records, key=lambda one: by_hash(one.key))
    rounding, choosing, test = ([one for one in ordered if place[one.key] == part][:MOST] for part in range(3))
    return rounding, choosing, test


def compress(
    model: Any,
    records: Sequence[Record],
    folder: str | Path,
    max_loss: float = 0.1,
    target_mib: float | None = None,
    told: Callable[[Iterable[Any]], Iterable[Any]] = lambda work: work,
) -> Compressed:
    """Write the smallest form of a model that is at most `max_loss` worse, as an ordinary folder.

    Matrices are rounded to 8, 6, 5 and 4 bits, each so that what its layer gives on a third of the records changes as
    little as possible; another third chooses, the last one tests the choice. Computation stays in float32: the file is
    smaller, not the time.

    Args:
        model: A prior or a system; its weights are put back.
        records: Records that it is judged on; those that do not fit are left out.
        folder: Folder to write, which must not hold a model.
        max_loss: Largest loss: dB for a prior, bits per token for a system.
        target_mib: Largest size of the weights, in MiB: the best form below it, if its loss allows it.
        told: Wraps the forms, to show progress.

    Returns:
        What was tried and chosen.

    Raises:
        UserError: Too few records, a kind that is not compressed, a folder with a model, or no form that is small and
            good enough; the message names the nearest.
    """
    where = Path(folder)
    if (where / "config.json").exists():
        raise UserError(f"{where}: holds a model already; choose another folder")
    measure = measure_of(model)
    rounding, choosing, test = parts_of(measure.fitting(model, records))
    network = measure.network
    original = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start = time.process_time()
    score = measure.score(choosing)
    forms = [Form("as it is", _mib(half_precision(original)), score, 0.0, time.process_time() - start)]
    made: dict[str, dict[str, Packed]] = {}
    try:
        for bits, group in told(FORMS):
            packed = _rounded(measure, rounding, bits, group)
            start, name = time.process_time(), f"{bits} bits"
            score = measure.score(choosing)
            seconds, loss = time.process_time() - start, measure.loss(forms[0].score, score)
            made[name] = packed
            forms.append(Form(name, _mib(_stored(network, packed)[0]), score, loss, seconds))
            network.load_state_dict(original)
        chosen = _choose(forms, max_loss, target_mib, measure.unit)
        before = measure.score(test)
        _put(network, made[chosen.name])
        result = Compressed(measure.name, measure.unit, forms, chosen.name, measure.loss(before, measure.score(test)))
        model.save_pretrained(where)
        tensors, metadata = _stored(network, made[chosen.name])
        save_weights(where / measure.file, tensors, metadata)
        write_bytes(where / REPORT, (json.dumps(asdict(result), indent=1) + "\n").encode())
    finally:
        network.load_state_dict(original)
    return result


def _rounded(measure: Measure, records: Sequence[Record], bits: int, group: int) -> dict[str, Packed]:
    """Round the matrices of a network in place, layer by layer in the order of the network."""
    network = measure.network
    layers = layers_of(network)
    packed: dict[str, Packed] = {}
    for part in in_parts(layers):
        seen = moments(part, lambda: measure.score(records))
        for name, layer in part.items():
            weight = layer.weight
            assert isinstance(weight, torch.Tensor)
            if is_packable(name, weight):
                packed[name] = rounded(weight, bits, group, seen.get(name))
        _put(network, {name: packed[name] for name in part if name in packed})
    others = {name: one for name, one in network.state_dict().items() if name not in layers and is_packable(name, one)}
    packed |= {name: rounded(weight, 8, 2**20) for name, weight in others.items()}
    _put(network, {name: packed[name] for name in others})
    return packed


@torch.no_grad()
def _put(network: torch.nn.Module, packed: dict[str, Packed]) -> None:
    state = network.state_dict()
    for name, one in packed.items():
        state[name].copy_(one.values())


def _stored(network: torch.nn.Module, packed: dict[str, Packed]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of the file: packed matrices, and everything else as `save_pretrained` writes it."""
    tensors, metadata = packed_tensors(packed)
    rest = {name: tensor for name, tensor in network.state_dict().items() if name not in packed}
    return half_precision(rest) | tensors, metadata


def _mib(tensors: dict[str, torch.Tensor]) -> float:
    return sum(one.numel() * one.element_size() for one in tensors.values()) / 2**20


def _choose(forms: Sequence[Form], max_loss: float, target_mib: float | None, unit: str) -> Form:
    """The smallest form within the loss or, below a target size, the best one within it; UserError where none is."""
    small = [one for one in forms[1:] if target_mib is None or one.mib <= target_mib]
    good = [one for one in small if one.loss <= max_loss]
    if good:
        return min(good, key=lambda one: (one.mib if target_mib is None else one.loss, one.mib))
    near = min(small or forms[1:], key=lambda one: one.loss if small else one.mib)
    size = f" of at most {target_mib:g} MiB" if target_mib is not None else ""
    raise UserError(
        f"no form{size} is at most {max_loss:g} {unit} worse; the nearest is {near.name}: {near.mib:.2f} MiB, "
        f"{near.loss:.3g} {unit} worse; raise --max-loss{' or --target-mib' if size else ''}"
    )
