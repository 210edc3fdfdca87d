"""The table of typed functions: one for each task, read off its class; HTTP, tools and the page are made from it.

Torch-free. A function takes an input (files or a text), options that are values, and further files; where the command
takes the name of a file, a function takes its content, and options that name a folder do not exist.
"""

import re
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from vqfusion.hub import DEFAULT_MODEL
from vqfusion.modalities import MODALITIES
from vqfusion.tasks import TASKS, Task
from vqfusion.tasks.restoration import prior_for
from vqfusion.web.refusal import Refusal

CONTENT = {
    "description": "a text, or the content of a file",
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "base64": {"type": "string", "contentEncoding": "base64"},
                "name": {"type": "string", "description": "tells the format where the content does not, as of a .csv"},
            },
            "required": ["base64"],
            "additionalProperties": False,
        },
    ],
}


class Common(BaseModel):
    """Options of every function."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="name of a model of this server; default: the one for such inputs")
    seed: int = Field(0, ge=0, lt=2**63, description="same seed, same result")
    steps: int | None = Field(None, ge=1, description="sampling steps; default: the model's")
    samples: int = Field(1, ge=1, description="how many results per input")


@dataclass(frozen=True)
class Function:
    """One task as a function.

    Attributes:
        task: The task.
        options: Its options that are values, as a pydantic model.
        files: Names of its options that are the content of one file.
        slots: Name of its option that is a content for each of several slots.
    """

    task: type[Task]
    options: type[Common]
    files: tuple[str, ...]
    slots: str | None

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.name

    @property
    def about(self) -> str:
        """First line of the documentation of the task."""
        return (self.task.__doc__ or "").strip().splitlines()[0]

    @property
    def needed_files(self) -> list[str]:
        """Names of the files without which it cannot be called."""
        return [field.name for field in fields(self.task) if field.name in self.files and field.default is MISSING]

    def model_for(self, modality: str | None, plane: bool = False) -> str:
        """Name of the model that is used where none is asked for."""
        restores = modality is not None and self.task.way == "restoration"
        return (prior_for(modality, plane) if modality and restores else None) or DEFAULT_MODEL

    def parse(self, values: dict[str, Any]) -> Common:
        """Check options; Refusal with one line that names the first one that is wrong."""
        try:
            return self.options.model_validate(values)
        except ValidationError as error:
            raise Refusal(422, f"{self.name}: {first_mistake(error, self.options)}") from None

    def schema(self) -> dict[str, Any]:
        """JSON schema of the whole request."""
        made = self.options.model_json_schema()
        properties = made["properties"]
        if self.task.accepts:
            kinds = ", ".join(MODALITIES[name].plural for name in self.task.accepts)
            one = dict(CONTENT, description=f"one of {kinds}: a text as it is, else the content of a file")
            properties = {"input": one, **properties}
        properties |= {name: dict(CONTENT, description=self._help(name)) for name in self.files}
        if self.slots:
            about = "what is given: a text, or the content of a file, for each slot, such as text:en or image"
            properties[self.slots] = {"type": "object", "additionalProperties": CONTENT, "description": about}
        needed = [*(["input"] if self.task.accepts and self.task.needs_input else []), *made.get("required", [])]
        needed += self.needed_files
        return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}

    def said(self) -> dict[str, Any]:
        """Row of the table for clients."""
        return {
            "name": self.name,
            "about": self.about,
            "accepts": list(self.task.accepts),
            "gives": self.task.gives,
            "needs_input": self.task.needs_input,
            "restores": self.task.way == "restoration",
            "files": list(self.files),
            "slots": self.slots,
            "flags": {field.name: field.metadata["flag"] for field in fields(self.task) if field.metadata["flag"]},
            "models": {name: self.model_for(name) for name in self.task.accepts},
            "schema": self.schema(),
        }

    def _help(self, name: str) -> str:
        return next(field.metadata["help"] for field in fields(self.task) if field.name == name)


@cache
def functions() -> dict[str, Function]:
    """The function of every task, by its name."""
    return {name: _function(task) for name, task in TASKS.items()}


def named(task: type[Task], text: str) -> str:
    """A message with the flags of the command as the names of options: `--self-ensemble` as `self_ensemble`."""
    flags = {field.metadata["flag"]: field.name for field in fields(task) if field.metadata["flag"]}
    known = {field.name for field in fields(task)} | set(Common.model_fields)

    def name(found: re.Match[str]) -> str:
        plain = flags.get(found[0], found[0][2:].replace("-", "_"))
        return plain if plain in known else found[0]

    return re.sub(r"--[a-z][a-z-]*", name, text)


def first_mistake(error: ValidationError, options: type[BaseModel]) -> str:
    """The first mistake that pydantic found, in one line."""
    found = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, found["loc"][:1])) or "the request"
    if found["type"] == "extra_forbidden":
        return f"{place[:60]!r} is not an option; it has {', '.join(options.model_fields)}"
    if found["type"] == "missing":
        return f"{place!r} is missing: {options.model_fields[place].description}"
    return f"{place!r} is {str(found['input'])[:60]!r}: {found['msg'][:120]}"


def _function(task: type[Task]) -> Function:
    values: dict[str, Any] = {}
    files, slots = [], None
    for field in fields(task):
        place = field.metadata["place"]
        if place == "file":
            files.append(field.name)
        elif place == "slots":
            slots = field.name
        elif place is None:
            default = ... if field.default is MISSING else field.default
            values[field.name] = (field.type, Field(default, description=field.metadata["help"]))
    options = create_model(f"{task.__name__}Options", __base__=Common, **values)
    return Function(task, options, tuple(files), slots)
