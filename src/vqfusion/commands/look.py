"""`data` and `doctor`: what a data set holds, and what this installation can do."""

import os
import platform
from collections import Counter
from typing import Annotated, Any

import typer

EXTRAS = {
    "eval": ("jiwer", "pocketsphinx", "pystoi", "skimage"),
    "data": ("espeakng_loader",),
    "track": ("tensorboard",),
}


def data(
    name: Annotated[str, typer.Argument(help="emoji, digits, a folder, or a manifest ending in .jsonl")],
) -> None:
    """Show what a data set holds: records, splits, slots and licence."""
    from rich.console import Console
    from rich.table import Table

    from vqfusion.data import open_dataset

    dataset = open_dataset(name)
    columns = list(dict.fromkeys((record.split, record.held_out) for record in dataset.records))
    columns.sort(key=lambda column: (("train", "val", "test").index(column[0]), column[1]))
    counts: dict[str, Counter[tuple[str, str]]] = {slot: Counter() for slot in dataset.slots()}
    for record in dataset.records:
        for slot in record.slots:
            counts[slot][record.split, record.held_out] += 1
    keys = len({record.key for record in dataset.records})
    table = Table(title=f"{dataset.name}: {len(dataset.records)} records of {keys} things", title_justify="left")
    table.add_column("slots")
    for split, held_out in columns:
        table.add_column(f"{split}\n{held_out}", justify="right")
    alike: dict[tuple[int, ...], list[str]] = {}
    for slot, counter in counts.items():
        alike.setdefault(tuple(counter[column] for column in columns), []).append(slot)
    for numbers, slots in alike.items():
        texts = [slot.removeprefix("text:") for slot in slots if slot.startswith("text:")]
        others = [slot for slot in slots if not slot.startswith("text:")]
        table.add_row(" ".join(others + ["text:", *texts] * bool(texts)), *map(str, numbers))
    console = Console()
    console.print(table)
    if dataset.held_out_pairs:
        pairs = ", ".join(sorted("-".join(sorted(pair)) for pair in dataset.held_out_pairs))
        console.print(f"Language pairs never trained: {pairs}")
    if dataset.licence:
        console.print(dataset.licence, soft_wrap=True, markup=False, highlight=False)


def doctor() -> None:
    """Show versions, devices, extras, and the models with their slots and names."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, title="vqfusion doctor", title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in [*_installation(), *_models()]:
        table.add_row(name, value)
    Console().print(table)


def _installation() -> list[tuple[str, str]]:
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
    rows = [
        ("vqfusion", version("vqfusion")),
        ("python", f"{platform.python_version()} on {platform.machine()} {platform.system()}"),
        ("packages", ", ".join(f"{name} {_version(name)}" for name in packages)),
        ("devices", ", ".join(devices)),
        ("threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores"),
    ]
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        state = f'missing {", ".join(missing)}: pip install "vqfusion[{extra}]"' if missing else "present"
        rows.append((f"extra {extra}", state))
    return rows


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _models() -> list[tuple[str, str]]:
    """Slots, languages and names of each model of the zoo; what is wrong with it where it does not load."""
    from vqfusion.errors import UserError
    from vqfusion.hub import load, zoo

    rows: list[tuple[str, str]] = []
    for name in zoo():
        try:
            system: Any = load(name, "cpu")
        except UserError as error:
            rows.append((f"model {name}", f"does not load: {error}"))
            continue
        slots = [slot for slot in system.slots if not slot.startswith("text:")]
        rows.append((f"model {name}", f"slots {', '.join(slots)}"))
        rows.append(("  languages", ", ".join(system.languages)))
        for slot in ("style", "speaker", "label"):
            if slot in system.slots:
                rows.append((f"  {slot}", ", ".join(system.labels(slot))))
    return rows or [("models", "none: the zoo is empty")]
