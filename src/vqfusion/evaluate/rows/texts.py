"""Rows about language, and about the likelihood of the true answer of each task."""

import itertools
import math

from vqfusion.evaluate.baselines.texts import PivotDictionary
from vqfusion.evaluate.bench import Bench, row
from vqfusion.evaluate.metrics import accuracy
from vqfusion.evaluate.report import Row
from vqfusion.modalities import SIGNALS
from vqfusion.types import Sample

PIVOT = "text:en"


def translate(bench: Bench) -> list[Row]:
    """Whether names are translated between languages whose pair was not in training, in both directions.

    Measured as the command does it, through the language that was trained with both; and directly, which shows whether
    the model has learned what the languages share.
    """
    pairs = sorted(tuple(sorted(pair)) for pair in bench.dataset.held_out_pairs)
    pairs = [p for p in pairs if {f"text:{language}" for language in p} <= set(bench.system.slots)]
    train = _concepts(bench.training("text:en"))
    dictionary = PivotDictionary([_names(record) for record in train])
    rows = []
    for seen in (True, False):
        concepts = train if seen else _concepts(bench.held_out("concept", "text:en"))
        per_direction = 20 if bench.limit is None else max(1, bench.limit // max(1, 2 * len(pairs)))
        right, through, looked_up = [], [], []
        for pair in pairs:
            for source, target in itertools.permutations(pair):
                slots = (f"text:{source}", f"text:{target}")
                known = [record for record in concepts if {*slots, PIVOT} <= set(record.slots)]
                records = bench.pick(known, per_direction)
                if not records:
                    continue
                wanted = bench.texts(records, slots[1])
                given = bench.load(records, slots[0])
                direct = bench.generate({slots[0]: given}, slots[1])
                right += _exact(direct, wanted)
                if PIVOT in bench.system.slots:
                    between = bench.generate({slots[0]: given}, PIVOT)
                    through += _exact(bench.generate({PIVOT: between}, slots[1]), wanted)
                looked_up += [
                    dictionary.translate(sample.data, source, target) == name
                    for sample, name in zip(given, wanted, strict=True)
                ]
        for way, found in (("through English", through), ("at once", right)):
            if not found:
                continue
            rows.append(
                row(
                    "translate",
                    f"translate, unseen language pair, {way}, {'seen' if seen else 'unseen'} concepts",
                    "exact name",
                    accuracy(found),
                    "%",
                    target=80.0 if seen else None,
                    baselines={"dictionary through English": 100 * accuracy(looked_up).value},
                    note=f"{2 * len(pairs)} directions: "
                    + ", ".join("-".join(pair) for pair in pairs)
                    + ("; two calls of the model, as the verb does it" if found is through else "")
                    + ("" if seen else "; no dictionary of training names can know these"),
                )
            )
    return rows


def likelihood(bench: Bench) -> list[Row]:
    """Upper bound (ELBO) on the bits per token of the true answer, by task."""
    tasks = {
        "imagine": ("pair", ("text:en", "style"), "image"),
        "describe": ("pair", ("image",), "text:en"),
        "transcribe": ("voice", ("audio",), "text:en"),
        "speak": ("concept", ("text:en", "speaker"), "audio"),
        "translate": ("concept", ("text:en",), "text:de"),
    }
    rows, draws = [], 16
    for name, (kind, given, target) in tasks.items():
        needed = (*given, target)
        if not set(needed) <= set(bench.system.slots):
            continue
        records = bench.pick(bench.held_out(kind, *needed), 32)
        if not records:
            continue
        loaded = {slot: bench.load(records, slot) for slot in needed}
        answer = loaded.pop(target)
        result = bench.system.likelihood(loaded, {target: answer}, draws=draws, seed=bench.seed)
        size = bench.system.tokenizers[target].codebook_size
        what = f"{name}: {' + '.join(given)} to {target}, {bench.unseen(kind)}"
        note = f"ELBO, {draws} draws"
        if result.bits_per_character is not None:
            note += f"; {result.bits_per_character:.2f} bits per character"
        rows.append(
            row(
                "likelihood",
                what,
                "bits per token",
                result.bits_per_token,
                "bits",
                n=len(records),
                sense="<=",
                baselines={"uniform": math.log2(size)},
                note=note,
            )
        )
    return rows


def _concepts(records: list) -> list:
    """One text record for each concept, because pictures of a concept have the same names."""
    first: dict[str, object] = {}
    for record in records:
        if set(SIGNALS).isdisjoint(record.slots):
            first.setdefault(record.key, record)
    return list(first.values())


def _exact(answers: list[Sample], wanted: list[str]) -> list[bool]:
    return [answer.data == name for answer, name in zip(answers, wanted, strict=True)]


def _names(record) -> dict[str, str]:
    slots = [slot for slot in record.slots if slot.startswith("text:") and "@" not in slot]
    return {slot.removeprefix("text:"): record.load(slot).data for slot in slots}
