"""Header of a model card, as the Hugging Face hub reads it: licence and scores. Torch-free."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vqfusion.config.base import construct
from vqfusion.errors import UserError
from vqfusion.limits import CONFIG_BYTES

HEADER = re.compile(r"\A---\s*\n(.*?)\n---\s*\n", re.DOTALL)


@dataclass(frozen=True)
class CardHeader:
    """What the header of a card says.

    Attributes:
        licence: Licence of the weights; empty where none is stated.
        score: First score, such as `31.78 PSNR in dB at 25/255 on Kodak24`; empty where none is stated.
    """

    licence: str = ""
    score: str = ""


def read_header(path: Path) -> CardHeader:
    """Read the header of a card; whatever is missing, damaged or of another form stays empty."""
    try:
        CONFIG_BYTES.require(path.stat().st_size, str(path))
        found = HEADER.match(path.read_text(encoding="utf-8", errors="replace"))
        data = construct(found[1], str(path)) if found else None
    except (OSError, ValueError, yaml.YAMLError, RecursionError, LookupError, AttributeError, UserError):
        return CardHeader()
    if not isinstance(data, dict):
        return CardHeader()
    licence = data.get("license")
    return CardHeader(licence if isinstance(licence, str) else "", _score(data))


def header_of(kind: str, name: str, licence: str | None, data: str | None, rows: list[dict[str, Any]]) -> dict:
    """Header of a generated card.

    Args:
        kind: Kind of the model.
        name: Its name.
        licence: Licence of the weights, as the hub writes it.
        data: Name of the data.
        rows: Rows of its evaluation.

    Returns:
        Values for YAML, with the scores as `model-index`.
    """
    header: dict[str, Any] = {"library_name": "vqfusion", "tags": ["vqfusion", kind]}
    if licence:
        header["license"] = licence
    if rows:
        metrics = [
            {
                "type": re.sub(r"\W+", "-", row["metric"].lower()).strip("-") or "score",
                "name": f"{row['metric']}, {row['what']}",
                "value": float(f"{row['value']:.4g}"),
            }
            for row in rows
        ]
        dataset = {"name": data or "unnamed", "type": data or "unnamed"}
        header["model-index"] = [
            {"name": name, "results": [{"task": {"type": kind}, "dataset": dataset, "metrics": metrics}]}
        ]
    return header


def plain_line(text: str) -> str:
    """Text that may stand in a card: one line, without characters that Markdown or HTML would read."""
    return re.sub(r"[^\w .,:;%/()+-]", "", " ".join(text.split()))[:100]


def _score(data: dict[str, Any]) -> str:
    """First score of `model-index` in one line."""
    try:
        result = data["model-index"][0]["results"][0]
        metric = result["metrics"][0]
        value, name = float(metric["value"]), str(metric.get("name") or metric["type"])
        where = str(result["dataset"]["name"])
    except (KeyError, IndexError, TypeError, ValueError):
        return ""
    return plain_line(f"{name}: {value:.4g} on {where}")
