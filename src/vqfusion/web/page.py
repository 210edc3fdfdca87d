"""The page at `/`, the list of functions at `/docs`, and the few files that they need; nothing comes from elsewhere."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vqfusion.modalities import MODALITIES
from vqfusion.web.functions import functions

FILES = {
    "page.js": "text/javascript",
    "zip.js": "text/javascript",
    "spectrogram.js": "text/javascript",
    "page.css": "text/css",
    "look.css": "text/css",
    "words.json": "application/json",
}


def static(name: str) -> tuple[bytes, str] | None:
    """Content and media type of a file of the page; None where there is none of this name."""
    if name not in FILES:
        return None
    return files("vqfusion.pages").joinpath("templates", name).read_bytes(), f"{FILES[name]}; charset=utf-8"


def function_page() -> str:
    """The page where things are dropped."""
    return _templates().get_template("serve.html").render()


def docs_page() -> str:
    """All functions with their options, and how to call them."""
    return _templates().get_template("functions.html").render(functions=[_row(one) for one in functions().values()])


def _row(function: Any) -> dict[str, Any]:
    """One function for the list."""
    said = function.said()
    rows = [
        {
            "name": name,
            "type": _type(value),
            "default": "" if value.get("default") is None else json.dumps(value["default"]),
            "about": value.get("description", ""),
            "needed": name in said["schema"]["required"],
        }
        for name, value in said["schema"]["properties"].items()
    ]
    return {**said, "rows": rows, "curl": _curl(said)}


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        kinds = [_type(one) for one in schema["anyOf"]]
        return " or ".join("file" if one == "object" else one for one in kinds if one != "null")
    return str(schema.get("type", "any"))


def _curl(said: dict[str, Any]) -> str:
    """A command line that calls a function."""
    row = MODALITIES[said["accepts"][0]] if said["accepts"] else None
    given = [] if row is None else ["input=broccoli" if row.in_words else f"input=@my{row.suffixes[0]}"]
    if said["slots"]:
        given = [f"{said['slots']}.text:en=broccoli"]
    given += [f"{name}=@{name}.png" for name in said["files"]]
    given += ["target=" + ("image" if said["slots"] else "de")] if "target" in said["schema"]["required"] else []
    return " ".join(["curl", *(f"-F {one}" for one in given), f"http://127.0.0.1:8000/v1/{said['name']}"])


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("vqfusion.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
