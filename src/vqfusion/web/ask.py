"""Answers one request: contents to samples, a task, and results to contents."""

import base64
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vqfusion.data.content import item_numbers
from vqfusion.data.display import html_of
from vqfusion.data.io import modality_of_bytes, modality_of_suffix, write
from vqfusion.data.io.file import guarded, read_bytes
from vqfusion.data.io.text import as_text
from vqfusion.errors import UserError
from vqfusion.files import confined
from vqfusion.modalities import MODALITIES, in_words, suffixes_of
from vqfusion.models.sampling import Sampling
from vqfusion.tasks import Answer
from vqfusion.tasks.generate import modality_of
from vqfusion.tasks.task import LABEL_SLOTS
from vqfusion.types import Sample
from vqfusion.web.asked import Asked, Content
from vqfusion.web.bounds import Bounds
from vqfusion.web.functions import Common, named
from vqfusion.web.media import media_type
from vqfusion.web.shelf import Shelf

BOUNDS_OF = ("lower", "upper")


@dataclass(frozen=True)
class File:
    """A result as a file."""

    name: str
    media_type: str
    data: bytes

    @property
    def as_json(self) -> dict[str, str]:
        """The file in JSON."""
        return {"name": self.name, "media_type": self.media_type, "base64": base64.b64encode(self.data).decode()}


@dataclass(frozen=True)
class Done:
    """An answer, with its results as files.

    Attributes:
        report: What the command prints with `--json`, but for names of files.
        files: Results of all items, in order; of a text its lines.
        items: For each item its row of the answer.
    """

    report: dict[str, Any]
    files: list[File] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)

    @property
    def as_json(self) -> dict[str, Any]:
        """The whole answer in JSON."""
        return self.report | {"items": self.items}


def ask(asked: Asked, shelf: Shelf, bounds: Bounds, suffix: str = "") -> Done:
    """Answer a request.

    Args:
        asked: The request.
        shelf: The models.
        bounds: The limits.
        suffix: Suffix of the results where the format is not that of the input.

    Returns:
        The answer.

    Raises:
        UserError: The input or an option is wrong; the message names options, not flags or files of this machine.
        Refusal: There is no such model.
    """
    with tempfile.TemporaryDirectory(prefix="vqfusion-") as folder:
        try:
            return _ask(asked, shelf, bounds, suffix, Path(folder))
        except UserError as error:
            raise type(error)(named(asked.function.task, str(error).replace(f"{folder}/", ""))) from None


def _ask(asked: Asked, shelf: Shelf, bounds: Bounds, suffix: str, folder: Path) -> Done:
    function, options = asked.function, asked.options
    for name, count in (("inputs", len(asked.inputs)), ("samples", options.samples), ("steps", options.steps or 1)):
        bounds.check_count(name, count)
    given = {name: getattr(options, name) for name in type(options).model_fields if name not in Common.model_fields}
    for name, content in asked.files.items():
        path = folder / f"{name}{content.suffix}"
        path.write_bytes(content.read())
        given[name] = str(path)
    if function.slots:
        given[function.slots] = tuple((slot, _slot(slot, content, bounds)) for slot, content in asked.slots.items())
    task = function.task(**given)
    samples = [_read(one, task.accepts, task.keeps, bounds) for one in asked.inputs]
    for one in samples:
        bounds.check(one, getattr(task, "factor", 1))
    model = options.model or function.model_for(*((samples[0].modality, samples[0].is_plane) if samples else (None,)))
    shelf.check(model, task.kinds)
    sampling = Sampling(
        samples=options.samples, seed=options.seed, steps=options.steps, items=item_numbers(samples, set())
    )
    loaded = shelf.get(model)
    with confined(folder):
        answer = task(loaded, samples or None, sampling)
    report: dict[str, Any] = {
        "task": task.name,
        "options": {k: v for k, v in asdict(task).items() if k in type(options).model_fields},
    }
    report |= {"model": model, "seed": options.seed, "nfe": answer.nfe, "seconds": round(answer.seconds, 3)}
    done = Done(report | {"warnings": list(answer.warnings)})
    suffixes = [one.suffix for one in asked.inputs] or [""]
    for i in range(max(len(answer.samples), len(answer.distributions))):
        note = samples[i].notes if i < len(samples) else ()
        row, files = _item(answer, i, task.name, suffix or suffixes[min(i, len(suffixes) - 1)], folder)
        row["warnings"] = list(dict.fromkeys([*note, *row.get("warnings", ())]))
        if asked.preview:
            row["before"] = html_of(samples[i]) if i < len(samples) else ""
            ends = (answer.findings[i].lower, answer.findings[i].upper) if answer.findings else ()
            row["after"] = [html_of(one, *ends) for one in answer.samples[i]] if answer.samples else []
        done.items.append(row)
        done.files.extend(files)
    return done


def _item(answer: Answer, i: int, name: str, suffix: str, folder: Path) -> tuple[dict[str, Any], list[File]]:
    """Row of item `i`, and its files."""
    if answer.distributions:
        decided = {"decision": asdict(answer.decisions[i])} if answer.decisions else {}
        return {"distribution": answer.distributions[i]} | decided, []
    made = answer.samples[i]
    if in_words(made[0].modality):
        texts = [one.data for one in made]
        return {"texts": texts}, [File(f"{name}.txt", "text/plain; charset=utf-8", "\n".join(texts).encode())]
    row: dict[str, Any] = {}
    lines: list[str] = []
    files = [
        _file(one, name if len(made) == 1 else f"{name}-{k + 1}", suffix, folder, lines) for k, one in enumerate(made)
    ]
    row["outputs"] = [one.as_json for one in files]
    if answer.findings:
        found = answer.findings[i]
        row["sigma"] = found.sigma
        lines += found.warnings
        row |= {"explained": list(found.explained)} if found.explained else {}
        if found.lower is not None and found.upper is not None:
            row |= {"coverage": found.coverage, "measured_coverage": found.measured, "measured_on": found.measured_on}
            ends = zip(BOUNDS_OF, (found.lower, found.upper), strict=True)
            row |= {what: _file(end, f"{name}-{what}", suffix, folder, []).as_json for what, end in ends}
    return row | {"warnings": lines}, files


def _file(sample: Sample, name: str, suffix: str, folder: Path, lines: list[str]) -> File:
    """A sample as a file, in the format of the suffix where it can hold such samples; adds what it cannot hold."""
    written = MODALITIES[sample.modality].written
    path = folder / f"{name}{suffix if suffix in written else written[0]}"
    lines += write(sample, path, force=True)
    return File(path.name, media_type(path), path.read_bytes())


def _read(content: Content, accepts: tuple[str, ...], keeps: Any, bounds: Bounds) -> Sample:
    """Sample of an input, which is of one of these modalities."""
    if content.text is not None and any(map(in_words, accepts)):
        sample = as_text(content.text)
        bounds.check(sample)
        return sample
    data = read_bytes(content.read())
    found = modality_of_bytes(data) or modality_of_suffix(f"input{content.suffix}")
    if found is None and len(accepts) == 1:
        found = accepts[0]
    if found not in accepts:
        wanted = " or ".join(MODALITIES[one].noun for one in accepts)
        holds = f"holds {MODALITIES[found].noun}" if found else "is of no supported kind"
        raise UserError(f"the input {holds}; give {wanted} ({suffixes_of(accepts)})")
    with guarded("the input", MODALITIES[found].noun):
        sample = MODALITIES[found].read(data, keeps(found))
    bounds.check(sample)
    return sample


def _slot(slot: str, content: Content, bounds: Bounds) -> Sample:
    """Sample of a slot."""
    modality = modality_of(slot)
    if slot in LABEL_SLOTS and content.text is not None:
        return Sample("label", content.text)
    if modality not in MODALITIES:
        raise UserError(f"slot {slot[:60]!r} is not one; name one such as text:en, image or audio")
    return _read(content, (modality,), lambda _: False, bounds)
