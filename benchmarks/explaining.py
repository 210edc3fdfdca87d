"""Deletion and insertion curves of `vqfusion explain` beside gradients and chance, on three data sets.

Small systems learn to name digits that are seen (MNIST, tokens), digits that are heard (FSDD, frames) and what a
request wants (Snips intents, text), for the steps that two minutes of one core allow. For test items, the most probable
name is explained: the area is the mean log probability, and the mean probability, as parts are left out (or given) in
the order of an attribution. Needs the data in $VQFUSION_DATA or ../shared/data: mnist10k.npz, fsdd/recordings and
snips_intents.

    python benchmarks/explaining.py --keep runs/explaining
"""

import argparse
import io
import json
import lzma
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import vqfusion
from vqfusion.config import ReadingConfig
from vqfusion.data import Dataset, open_dataset
from vqfusion.data.columns import dataset_of
from vqfusion.data.table import Table
from vqfusion.inspect.attribution import (
    AskedAnswer,
    GivenUnits,
    Scorer,
    attribute,
    gradient_times_input,
    integrated_gradients,
)
from vqfusion.inspect.attribution.curves import curves
from vqfusion.models.fusion.given import encode_given
from vqfusion.models.fusion.slots import calibrated

RESULT = Path(__file__).parent / "results" / "explaining.json"
DATA = Path(os.environ.get("VQFUSION_DATA", Path(__file__).parents[2] / "shared" / "data"))
RANDOM_ORDERS = 4


def mnist() -> Dataset:
    """Written digits, with the test part that comes with them."""
    stored, rows = np.load(DATA / "mnist10k.npz"), []
    for picture, label, test in zip(stored["images"], stored["labels"], stored["test"], strict=True):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "PNG")
        rows.append({"image": buffer.getvalue(), "label": str(label), "split": "test" if test else "train"})
    return of_rows("mnist", rows)


def fsdd() -> Dataset:
    """Spoken digits of six speakers."""
    return open_dataset(str(DATA / "fsdd" / "recordings"), ReadingConfig(files="{label}_{}_{}"))


def snips() -> Dataset:
    """Requests and what they want, one of seven things."""
    rows = []
    for part, split in (("train", "train"), ("validate", "test")):
        with lzma.open(DATA / "snips_intents" / f"{part}.tsv.xz", "rt", encoding="utf-8") as file:
            lines = [line.rstrip("\n").split("\t") for line in file]
        rows += [{"label": line[0], "text:en": line[1], "split": split} for line in lines]
    return of_rows("snips", rows)


def of_rows(name: str, rows: list[dict[str, Any]]) -> Dataset:
    """Data set of rows."""
    table = Table(Path(name), list(rows[0]), [(f"row {i}", row) for i, row in enumerate(rows, 1)])
    return dataset_of([(table, None)], ReadingConfig(), name)


SETS: dict[str, tuple[Callable[[], Dataset], str, dict[str, Any]]] = {
    "mnist": (mnist, "image", {"image_size": 28, "steps": 45}),
    "fsdd": (fsdd, "audio", {"steps": 353}),
    "snips": (snips, "text:en", {"steps": 450}),
}


def trained(name: str, data: Dataset, seed: int, keep: Path) -> vqfusion.System:
    """A system that names what it is given; read again where it was trained before."""
    folder = keep / f"{name}-{seed}-model"
    if not folder.exists():
        how = SETS[name][2] | {"seed": seed, "device": "cpu"}
        system = vqfusion.fit(data, tasks=["classify"], folder=str(keep / f"{name}-{seed}"), **how)
        system.save_pretrained(folder)
    return vqfusion.load(str(folder), "cpu")


def measured(system: vqfusion.System, slot: str, sample: Any, truth: str) -> dict[str, Any]:
    """Areas of one item for every order, in nats relative to the score given everything, and as probabilities."""
    items, _ = encode_given(system.tokenizers, {slot: sample}, None)
    slots = system.config.fusion.slots
    p = system.distribution({slot: sample}, "label")[0]
    name = next(iter(p))
    ids = system.tokenizers["label"].encode(vqfusion.Sample("label", name)).ids
    answer = AskedAnswer("label", ids, torch.ones_like(ids), calibrated(slots["label"], [slot]))
    score = Scorer(system.fusion, GivenUnits.of({slot: items[slot][0]}, slots), answer)
    units, generator = score.units.count, torch.Generator().manual_seed(0)
    started = time.perf_counter()
    values, error = attribute(score, units, 1024, generator)
    seconds = time.perf_counter() - started
    orders = {
        "explain": [values],
        "gradient x input": [gradient_times_input(score)],
        "integrated gradients": [integrated_gradients(score)],
        "random": [torch.rand(units, generator=generator) for _ in range(RANDOM_ORDERS)],
    }
    areas: dict[str, list[float]] = {}
    for order, attributions in orders.items():
        found = []
        for one in (curves(score, values) for values in attributions):
            whole = float(one.deletion[0])
            lines = (one.deletion - whole, one.deletion.exp(), one.insertion - whole, one.insertion.exp())
            found.append([float(torch.trapezoid(line, one.shares)) for line in lines])
        areas[order] = [statistics.fmean(column) for column in zip(*found, strict=True)]
    return {"areas": areas, "units": units, "seconds": seconds, "error": float(error.max()), "right": name == truth}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over items, their standard errors, and how often explain is the steeper one."""
    columns = ("deletion_nats", "deletion_probability", "insertion_nats", "insertion_probability")
    out: dict[str, Any] = {
        "items": len(rows),
        "accuracy": statistics.fmean(row["right"] for row in rows),
        "units": statistics.fmean(row["units"] for row in rows),
        "seconds": statistics.median(row["seconds"] for row in rows),
        "largest_standard_error": statistics.median(row["error"] for row in rows),
        "orders": {},
    }
    for order in rows[0]["areas"]:
        own: dict[str, Any] = {}
        for i, column in enumerate(columns):
            values = [row["areas"][order][i] for row in rows]
            own[column] = statistics.fmean(values)
            own[f"{column}_standard_error"] = statistics.stdev(values) / len(values) ** 0.5
        if order != "explain":
            ours = [row["areas"]["explain"][0] for row in rows]
            theirs = [row["areas"][order][0] for row in rows]
            gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
            own["explain_steeper_share"] = statistics.fmean(gap < 1e-9 for gap in gaps)
            own["explain_minus_this_nats"] = statistics.fmean(gaps)
            own["explain_minus_this_standard_error"] = statistics.stdev(gaps) / len(gaps) ** 0.5
        out["orders"][order] = own
    return out


def rounded(value: Any) -> Any:
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--items", type=int, default=40, help="test items of each seed")
    parser.add_argument("--keep", type=Path, default=Path("runs/explaining"), help="folder of the trained systems")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for name in arguments.sets:
        opened, slot, _ = SETS[name]
        data, rows, seeds = opened(), [], {}
        records = data.select("test", slots=(slot, "label"))
        for seed in arguments.seeds:
            system = trained(name, data, seed, arguments.keep)
            step = len(records) / arguments.items
            mine = []
            for i in range(arguments.items):
                record = records[int((i + seed / len(arguments.seeds)) * step)]
                if system.tokenizers.encode_fitting(slot, [record.load(slot)])[0] is not None:
                    mine.append(measured(system, slot, record.load(slot), record.load("label").data))
            seeds[str(seed)] = {order: one["deletion_nats"] for order, one in summary(mine)["orders"].items()}
            rows += mine
            print(name, seed, rounded(seeds[str(seed)]), flush=True)
        report[name] = rounded(summary(rows) | {"deletion_nats_by_seed": seeds})
        arguments.output.parent.mkdir(exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
