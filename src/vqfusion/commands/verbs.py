"""Commands made from tasks: one for each, with the fields of the task and the common options."""

import inspect
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer

from vqfusion.commands.options import Request
from vqfusion.commands.run import WAYS, run
from vqfusion.modalities import MODALITIES, in_words
from vqfusion.tasks import TASKS, Task

INPUTS = "files, folders or - for standard input"
HINTS = typing.get_type_hints(Request, include_extras=True)
COMMON = [(one.name, HINTS[one.name], one.default) for one in fields(Request)]
# type of an option on the command line, where the field of the task accepts several types
SPOKEN: dict[Any, Any] = {str | float | None: str | None}


def add_verbs(app: typer.Typer) -> None:
    """Add one command for each task."""
    for name, kind in TASKS.items():
        doc = (kind.__doc__ or "").strip()
        app.command(name, help=doc, short_help=doc.splitlines()[0], rich_help_panel="Tasks")(_command(kind))


def _command(kind: type[Task]) -> Callable[..., None]:
    """Function whose signature has the inputs, the fields of the task and the common options."""

    def command(**values: Any) -> None:
        arguments = values.pop("inputs", None) or []
        request = Request(**{name: values.pop(name) for name, _, _ in COMMON})
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        run(kind(**values), arguments, request)

    rows: list[tuple[str, Any, Any]] = []
    if kind.accepts:
        spoken = "the text itself, " if any(map(in_words, kind.accepts)) else ""
        help = f"{', '.join(MODALITIES[modality].plural for modality in kind.accepts)}: {spoken}{INPUTS}"
        default: Any = MISSING if kind.needs_input else None
        rows.append(("inputs", Annotated[list[str], typer.Argument(help=help, metavar="INPUTS")], default))
    for option in fields(kind):
        flag = option.metadata["flag"] or "--" + option.name.replace("_", "-")
        annotation = list[str] if isinstance(option.default, tuple) else SPOKEN.get(option.type, option.type)
        default = [] if isinstance(option.default, tuple) else option.default
        rows.append((option.name, Annotated[annotation, typer.Option(flag, help=option.metadata["help"])], default))
    rows += [("model", *WAYS[kind.way].model_option) if row[0] == "model" else row for row in COMMON]
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=inspect.Parameter.empty if default is MISSING else default,
        )
        for name, annotation, default in rows
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {name: annotation for name, annotation, _ in rows}
    command.__name__ = kind.name
    return command
