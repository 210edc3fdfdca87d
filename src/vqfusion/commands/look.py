"""`data` and `doctor`: the content of a data set, and the state of the installation."""

import json
import os
import platform
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands.options import Json
from vqfusion.errors import installing

if TYPE_CHECKING:
    from vqfusion.data import Dataset

EXTRAS = {
    "eval": ("jiwer", "pocketsphinx", "pystoi", "sacrebleu", "skimage"),
    "data": ("espeakng_loader", "pyarrow"),
    "track": ("tensorboard",),
    "volume": ("nibabel", "tifffile"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "web": ("fastapi", "uvicorn", "python_multipart", "prometheus_client"),
    "mcp": ("mcp",),
    "docs": ("mkdocs", "mkdocstrings"),
}


def data(
    name: Annotated[str, typer.Argument(help="emoji, digits, solids, waves, a folder, a .jsonl manifest, or a table")],
    as_json: Json = False,
) -> None:
    """Show what a data set holds: records, splits, slots and licence."""
    from vqfusion.data import open_dataset

    report = _holdings(open_dataset(name))
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    columns = list(report["splits"])
    title = f"{report['name']}: {report['records']} records of {report['keys']} things"
    table = Table(title=title, title_justify="left")
    table.add_column("slots")
    for column in columns:
        table.add_column(column.replace(" ", "\n"), justify="right")
    alike: dict[tuple[int, ...], list[str]] = {}
    for slot, counts in report["slots"].items():
        alike.setdefault(tuple(counts.get(column, 0) for column in columns), []).append(slot)
    for numbers, slots in alike.items():
        texts = [slot.removeprefix("text:") for slot in slots if slot.startswith("text:")]
        others = [slot for slot in slots if not slot.startswith("text:")]
        table.add_row(" ".join(others + ["text:", *texts] * bool(texts)), *map(str, numbers))
    console = Console(markup=False, emoji=False)
    console.print(table)
    if report["held_out_pairs"]:
        console.print(f"Language pairs never trained: {', '.join(report['held_out_pairs'])}")
    if report["licence"]:
        console.print(report["licence"], soft_wrap=True, highlight=False)


def _holdings(dataset: "Dataset") -> dict[str, Any]:
    """Counts of records by split (such as `test concept` where concepts are held out), in total and for each slot."""
    splits: Counter[str] = Counter()
    slots: dict[str, Counter[str]] = {slot: Counter() for slot in dataset.slots()}
    for record in dataset.records:
        column = f"{record.split} {record.held_out}".strip()
        splits[column] += 1
        for slot in record.slots:
            slots[slot][column] += 1
    order = sorted(splits, key=lambda column: (("train", "val", "test").index(column.split()[0]), column))
    return {
        "name": dataset.name,
        "records": len(dataset.records),
        "keys": len({record.key for record in dataset.records}),
        "splits": {column: splits[column] for column in order},
        "slots": {slot: dict(counts) for slot, counts in slots.items()},
        "held_out_pairs": sorted("-".join(sorted(pair)) for pair in dataset.held_out_pairs),
        "licence": dataset.licence,
    }


def doctor(as_json: Json = False) -> None:
    """Show versions, devices, extras, and the models with their slots and names."""
    report = _installation() | {"models": _models()}
    if as_json:
        print(json.dumps(report, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, title="vqfusion doctor", title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for name in ("vqfusion", "python"):
        table.add_row(name, report[name])
    table.add_row("packages", ", ".join(f"{name} {version}" for name, version in report["packages"].items()))
    table.add_row("devices", ", ".join(report["devices"]))
    table.add_row("threads", f"{report['threads']} of {report['cores']} cores")
    for extra, missing in report["missing"].items():
        state = f"missing {', '.join(missing)}: {installing(extra)}" if missing else "present"
        table.add_row(f"extra {extra}", state)
    for name, model in report["models"].items():
        if "error" in model:
            table.add_row(f"model {name}", f"does not load: {model['error']}")
            continue
        if "prior" in model:
            known = model["prior"]
            table.add_row(f"model {name}", f"prior of {known['modality']}, {known['channels']} channels")
            continue
        table.add_row(f"model {name}", f"slots {', '.join(model['slots'])}")
        table.add_row("  languages", ", ".join(model["languages"]))
        for slot, labels in model["names"].items():
            table.add_row(f"  {slot}", ", ".join(labels))
        if model["taught"]:
            counts = ", ".join(f"{len(names)} in {slot}" for slot, names in model["taught"].items())
            table.add_row("  names", f"{counts}; --json lists them")
    if not report["models"]:
        table.add_row("models", "none: the zoo is empty")
    Console(markup=False, emoji=False).print(table)


def _installation() -> dict[str, Any]:
    """Versions, devices and threads; `missing` lists the modules that each extra lacks."""
    from importlib.metadata import requires, version
    from importlib.util import find_spec

    import torch

    devices = ["cpu"] + [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    packages = [
        requirement.split(";")[0].split(">=")[0].strip()
        for requirement in requires("vqfusion") or []
        if "extra ==" not in requirement
    ]
    return {
        "vqfusion": version("vqfusion"),
        "python": f"{platform.python_version()} on {platform.machine()} {platform.system()}",
        "packages": {name: _version(name) for name in packages},
        "devices": devices,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "missing": {
            extra: [module for module in modules if find_spec(module) is None] for extra, modules in EXTRAS.items()
        },
    }


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _models() -> dict[str, dict[str, Any]]:
    """Slots of each model of the zoo, or the data of a prior; the error where one does not load."""
    from vqfusion.errors import UserError
    from vqfusion.hub import load, zoo

    models: dict[str, dict[str, Any]] = {}
    for name in zoo():
        try:
            model: Any = load(name, "cpu")
        except UserError as error:
            models[name] = {"error": str(error)}
            continue
        if model.kind == "prior":
            models[name] = {"prior": model.config.model_dump(mode="json")}
            continue
        models[name] = {
            "slots": [slot for slot in model.slots if not slot.startswith("text:")],
            "languages": list(model.languages),
            "names": {slot: model.labels(slot) for slot in ("style", "speaker", "label") if slot in model.slots},
            "taught": {slot: list(names) for slot, names in model.taught.names.items()},
        }
    return models
