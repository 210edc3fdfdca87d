"""Model cards: the README.md in the folder of a model and on the hub."""

import json
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from vqfusion.nn.card_header import header_of, plain_line

CARD = "README.md"
MARK = "<!-- written by vqfusion: a card without this line is yours and is left as it is -->"
RUNS = ("chain.json", "prior.json", "latent.json")  # config of the training, beside the model that it made


def write_card(model: Any, folder: Path) -> None:
    """Write the card of a model, unless the folder has one written by hand."""
    if own_card(folder) is None:
        (folder / CARD).write_text(card(model, folder), encoding="utf-8")


def own_card(folder: Path) -> str | None:
    """Card that was written by hand; None where there is none."""
    path = folder / CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else MARK
    return None if MARK in text else text


def card(model: Any, folder: Path, name: str | None = None, licence: str | None = None) -> str:
    """Model card in Markdown: what the model is, scores with baselines, limits, data, licence, and how to load it.

    Args:
        model: The model.
        folder: Folder of the model, with `eval.json` where it was evaluated.
        name: Argument of `vqfusion.load` in the example: the folder by default, `owner/name` on the hub.
        licence: Licence of the weights, as the hub writes it: `cc-by-4.0`, `mit`.

    Returns:
        The text of the card.
    """
    title = getattr(model.config, "name", None) or f"A {model.kind}"
    doc = (type(model).__doc__ or type(model).__name__).strip().split("\n\n")[0]
    facts = {"kind": model.kind, "modalities": ", ".join(modalities(model)), "parameters": f"{parameters(model):,}"}
    table = "\n".join(f"| {key} | {value} |" for key, value in facts.items() if value and value != "0")
    config = json.dumps(model.config.model_dump(mode="json"), ensure_ascii=False, indent=1)
    rows, run = measured(folder), training(folder)
    data = data_name(run.get("data") or getattr(model.config, "data", None))
    head = yaml.safe_dump(header_of(model.kind, title, licence, data, rows), sort_keys=False, allow_unicode=True)
    return f"""---
{head}---
{MARK}

# {title}

{" ".join(doc.split())}

| | |
|---|---|
{table}

## Load it

```python
import vqfusion
model = vqfusion.load({name or folder.name!r})
print(model.config)
```

{scores(rows)}## Limits

{limits(folder, rows)}

## Data and training

{trained(run, data)}

## Licence

{licensed(licence)}

## Data contract

What it takes and gives, and what it was built from; `config.json` holds the same, and data that do not fit are refused.

```json
{config}
```
"""


def modalities(model: Any) -> list[str]:
    """Modalities of a model, from its slots, its own config or its tokenizers."""
    slots = getattr(model, "slots", ())
    named = [slot.partition(":")[0].partition("@")[0] for slot in slots]
    own = getattr(model, "modality", None) or getattr(model.config, "modality", None)
    kept = [one.kind for one in getattr(model.config, "tokenizers", {}).values()]
    return list(dict.fromkeys(named or ([own] if own else kept)))


def parameters(model: Any) -> int:
    """Number of parameters of all networks of a model."""
    if isinstance(model, nn.Module):
        return sum(one.numel() for one in model.parameters())
    return sum(parameters(part) for part in getattr(model, "networks", ()))


def measured(folder: Path) -> list[dict[str, Any]]:
    """Rows of `eval.json` that can be shown; empty where there is none, or it is damaged."""
    rows = _stored(folder / "eval.json").get("rows")
    wanted = {"what": str, "metric": str, "unit": str, "value": (int, float)}
    return [
        row
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict) and all(isinstance(row.get(key), kind) for key, kind in wanted.items())
    ]


def scores(rows: list[dict[str, Any]]) -> str:
    """Section of measured results, each beside its interval and baselines; empty where there are none."""
    lines = [
        f"| {row['what']} | {row['metric']} | {row['value']:.4g} {row['unit']} | {_interval(row)} | {_baselines(row)} |"
        for row in rows
    ]
    head = "| what | metric | value | 95 % interval | baselines |\n|---|---|---|---|---|\n"
    return "## Measured\n\n" + head + "\n".join(lines) + "\n\n" if lines else ""


def limits(folder: Path, rows: list[dict[str, Any]]) -> str:
    """Sentences on what is not known or not promised."""
    said = ["It was made for data like those that it was trained on; nothing is known of others."]
    if not rows:
        said.append("No scores were measured on data that it never saw.")
    mark = _stored(folder / "unfinished.json")
    if mark:
        said.append(f"Its training is unfinished: step {mark.get('step')} of {mark.get('steps')}.")
    said.append("Weights may show what they were trained on: they are no place for secrets.")
    return " ".join(said)


def training(folder: Path) -> dict[str, Any]:
    """Config of the training that made the model in a folder; empty where it is not kept."""
    return next((found for found in (_stored(folder / name) for name in RUNS) if found), {})


def data_name(data: Any) -> str | None:
    """Name of the data without the folders of the machine that they are on."""
    return plain_line(Path(data).name) if isinstance(data, str) and data else None


def trained(run: dict[str, Any], data: str | None) -> str:
    """Section on data and training: what was learned from, for how long, and the command."""
    from_data = f"Trained on `{data}`." if data else "The data are not recorded here: name them, and their licence."
    stages = [
        f"{name.removesuffix('_stage') if name != 'stage' else 'network'} {one['steps']} steps of {one.get('batch')}"
        for name, one in run.items()
        if name.endswith("stage") and isinstance(one, dict) and "steps" in one
    ]
    if not run:
        return from_data
    name = plain_line(str(run.get("name", "own")))
    how = f"Seed {run.get('seed', 0)}{'; ' if stages else ''}{', '.join(stages)}."
    return f"{from_data} {how}\n\n```console\nvqfusion train {name}.yaml\n```"


def licensed(licence: str | None) -> str:
    """Section on the licence of the weights."""
    if licence:
        return f"The weights are under `{plain_line(licence)}`; the code that runs them is under Apache-2.0."
    return (
        "None has been chosen for these weights. The code that runs them is under Apache-2.0; the weights are under\n"
        "the terms of their owner and of the data that they were trained on. State them here, and as `license:` in\n"
        "the header."
    )


def _interval(row: dict[str, Any]) -> str:
    low, high = row.get("low"), row.get("high")
    known = isinstance(low, (int, float)) and isinstance(high, (int, float))
    return f"{low:.4g} to {high:.4g}" if known else ""


def _baselines(row: dict[str, Any]) -> str:
    held = row.get("baselines")
    held = held if isinstance(held, dict) else {}
    return ", ".join(f"{name} {value:.4g}" for name, value in held.items() if isinstance(value, (int, float)))


def _stored(path: Path) -> dict[str, Any]:
    """Mapping in a JSON file; empty where it is missing or damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
