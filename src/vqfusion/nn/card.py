"""Model cards: the README.md in the folder of a model and on the hub."""

import json
from pathlib import Path
from typing import Any

from torch import nn

CARD = "README.md"
MARK = "<!-- written by vqfusion: a card without this line is yours and is left as it is -->"


def write_card(model: Any, folder: Path) -> None:
    """Write the card of a model, unless the folder has one written by hand."""
    if own_card(folder) is None:
        (folder / CARD).write_text(card(model, folder), encoding="utf-8")


def own_card(folder: Path) -> str | None:
    """Card that was written by hand; None where there is none."""
    path = folder / CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else MARK
    return None if MARK in text else text


def card(model: Any, folder: Path, name: str | None = None) -> str:
    """Model card in Markdown: what the model is, its inputs and outputs, measured results, and how to load it.

    Args:
        model: The model.
        folder: Folder of the model, with `eval.json` where it was evaluated.
        name: Argument of `vqfusion.load` in the example: the folder by default, `owner/name` on the hub.

    Returns:
        The text of the card.
    """
    doc = (type(model).__doc__ or type(model).__name__).strip().split("\n\n")[0]
    facts = {"kind": model.kind, "modalities": ", ".join(modalities(model)), "parameters": f"{parameters(model):,}"}
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items() if value and value != "0")
    config = json.dumps(model.config.model_dump(mode="json"), ensure_ascii=False, indent=1)
    return f"""---
library_name: vqfusion
tags: [vqfusion, {model.kind}]
---
{MARK}

# {getattr(model.config, "name", None) or f"A {model.kind}"}

{" ".join(doc.split())}

| | |
|---|---|
{rows}

## Load it

```python
import vqfusion
model = vqfusion.load({name or folder.name!r})
print(model.config)
```

{measured(folder)}## Licence

None has been chosen for these weights. The code that runs them is under Apache-2.0; the weights are under the terms of
their owner and of the data that they were trained on. State them here, and as `license:` in the header.

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


def measured(folder: Path) -> str:
    """Section of measured results, from `eval.json`; empty where there is none."""
    path = folder / "eval.json"
    if not path.is_file():
        return ""
    try:
        rows = json.loads(path.read_text(encoding="utf-8")).get("rows", [])
        lines = [f"| {row['what']} | {row['metric']} | {row['value']:.4g} {row['unit']} |" for row in rows]
    except (ValueError, AttributeError, KeyError, TypeError):
        return ""
    return "## Measured\n\n| what | metric | value |\n|---|---|---|\n" + "\n".join(lines) + "\n\n" if lines else ""
