"""The verbs that grow from the tasks: their options, and the way from the inputs to the results."""

import inspect
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vqfusion.commands import outputs, restoration
from vqfusion.commands.inputs import Item, collect
from vqfusion.commands.progress import tracked
from vqfusion.modalities import MODALITIES
from vqfusion.tasks import TASKS, Answer, Task
from vqfusion.tasks.restoration import Restoration

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System

BATCH = 8
INPUTS = "files, folders or - for standard input"


@dataclass(frozen=True)
class Request:
    """The options that every verb has."""

    output: str | None
    model: str | None
    device: str | None
    seed: int
    steps: int | None
    samples: int
    json: bool
    force: bool


COMMON: list[tuple[str, Any, Any]] = [
    (
        "output",
        Annotated[str | None, typer.Option("--output", "-o", help="file, or folder for several inputs")],
        None,
    ),
    (
        "model",
        Annotated[str, typer.Option(help="name in the zoo, folder, or owner/name on the hub")],
        "emoji",
    ),
    (
        "device",
        Annotated[str | None, typer.Option(help="cpu, cuda, mps; default: the fastest there is")],
        None,
    ),
    ("seed", Annotated[int, typer.Option(min=0, help="same seed, same result")], 0),
    ("steps", Annotated[int | None, typer.Option(min=1, help="sampling steps; default: the model's")], None),
    ("samples", Annotated[int, typer.Option(min=1, help="how many results per input")], 1),
    ("json", Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")], False),
    ("force", Annotated[bool, typer.Option("--force", help="overwrite existing files")], False),
]
FITTING_MODEL = (
    "model",
    Annotated[str | None, typer.Option(help="name, folder or owner/name; default: the prior for such inputs")],
    None,
)


def add_verbs(app: typer.Typer) -> None:
    """One command for each task."""
    for name, kind in TASKS.items():
        doc = (kind.__doc__ or "").strip()
        app.command(name, help=doc, short_help=doc.splitlines()[0], rich_help_panel="Tasks")(_command(kind))


def _command(kind: type[Task]) -> Callable[..., None]:
    """A function whose signature is the inputs, the fields of the task and the common options."""

    def command(**values: Any) -> None:
        arguments = values.pop("inputs", None) or []
        request = Request(**{name: values.pop(name) for name, _, _ in COMMON})
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        made = kind(**values)
        if isinstance(made, Restoration):
            restoration.run(made, arguments, request)
        else:
            run(made, arguments, request)

    rows: list[tuple[str, Any, Any]] = []
    if kind.accepts:
        spoken = "the text itself, " if "text" in kind.accepts else ""
        help = f"{', '.join(MODALITIES[modality].plural for modality in kind.accepts)}: {spoken}{INPUTS}"
        default: Any = MISSING if kind.needs_input else None
        rows.append(("inputs", Annotated[list[str], typer.Argument(help=help, metavar="INPUTS")], default))
    for option in fields(kind):
        flag = option.metadata["flag"] or "--" + option.name.replace("_", "-")
        annotation = list[str] if isinstance(option.default, tuple) else option.type
        default = [] if isinstance(option.default, tuple) else option.default
        rows.append((option.name, Annotated[annotation, typer.Option(flag, help=option.metadata["help"])], default))
    rows += [FITTING_MODEL if issubclass(kind, Restoration) and row[0] == "model" else row for row in COMMON]
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


def run(task: Task, arguments: list[str], request: Request) -> None:
    """Plan the outputs, read the inputs, ask the model, write or print the answers."""
    from vqfusion.hub import DEFAULT_MODEL, find_model, load_for_slots

    name = request.model or DEFAULT_MODEL
    items = collect(arguments, task.accepts)
    names = [item.name for item in items] or [task.name]
    many = len(items) > 1 or any(item.from_folder for item in items)
    paths = outputs.plan(
        names, task.result, task.name, request.output, request.samples, folder=many, force=request.force
    )
    find_model(name)
    system: System | None = None
    done: list[Answer] = []
    sources = [item.source for item in items] if len(items) > 1 else [""]
    at_once = not paths and not request.json
    for first in tracked(range(0, max(len(items), 1), BATCH), "working", len(items) > BATCH and not at_once):
        batch = items[first : first + BATCH]
        given = [item.read() for item in batch]
        from vqfusion.models.sampling import Sampling

        system = system or load_for_slots(name, request.device)
        sampling = Sampling(samples=request.samples, seed=request.seed, steps=request.steps)
        answer = task(system, given if items else None, sampling)
        if at_once:
            _show(sources[first : first + BATCH], answer)
            _warn(line for line in answer.warnings if not any(line in earlier.warnings for earlier in done))
        if paths:
            _write(answer, paths[first : first + BATCH])
        done.append(answer)
    report = _report(task, request, items, done, paths)
    if request.json:
        print(json.dumps(report, ensure_ascii=False))
    elif paths:
        print("\n".join(str(path) for row in paths for path in row))
        _warn(report["warnings"])


def _write(answer: Answer, paths: list[list[Path]]) -> None:
    from vqfusion.data.io import write
    from vqfusion.types import Sample

    for i, row in enumerate(paths):
        if answer.distributions:
            outputs.write_json(row[0], answer.distributions[i])
        elif answer.samples[i][0].modality == "text":
            lines = "\n".join(sample.data for sample in answer.samples[i])
            write(Sample("text", lines), row[0], force=True)
        else:
            for sample, path in zip(answer.samples[i], row, strict=True):
                write(sample, path, force=True)


def _report(
    task: Task, request: Request, items: list[Item], done: list[Answer], paths: list[list[Path]]
) -> dict[str, Any]:
    """What `--json` prints."""
    report: dict[str, Any] = {"task": task.name, "options": asdict(task), "model": request.model}
    report |= {"seed": request.seed, "nfe": sum(answer.nfe for answer in done)}
    report["seconds"] = round(sum(answer.seconds for answer in done), 3)
    report["warnings"] = list(dict.fromkeys(line for answer in done for line in answer.warnings))
    report["inputs"] = [item.source for item in items]
    if task.result == "label":
        report["distributions"] = [names for answer in done for names in answer.distributions]
    elif task.result == "text":
        report["texts"] = [[sample.data for sample in item] for answer in done for item in answer.samples]
    if paths:
        report["outputs"] = [[str(path) for path in row] for row in paths]
    return report


def _show(names: list[str], answer: Answer) -> None:
    """Texts, one a line, or distributions as a table each, beside the names of their inputs where there are several."""
    for name, texts in zip(names, answer.samples, strict=False):
        for text in texts:
            print(f"{name}\t{text.data}" if name else text.data, flush=True)
    if not answer.distributions:
        return
    from rich.console import Console
    from rich.table import Table

    for name, distribution in zip(names, answer.distributions, strict=True):
        table = Table(title=name or None, title_justify="left")
        table.add_column("name")
        table.add_column("probability", justify="right")
        for label, probability in distribution.items():
            table.add_row(label, f"{probability:.3f}")
        Console(markup=False, emoji=False).print(table)


def _warn(lines: Iterable[str]) -> None:
    for line in dict.fromkeys(lines):
        print(f"vqfusion: {line}", file=sys.stderr)
