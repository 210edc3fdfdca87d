"""`models`: a list of the models at hand, and how a model is fetched, published and given away as one file."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vqfusion.commands.options import Force, Json, output_option
from vqfusion.commands.runs import RUNS, score_of
from vqfusion.commands.say import say
from vqfusion.errors import UserError

if TYPE_CHECKING:
    from vqfusion.models.about import About


class Group(TyperGroup):
    """Group of commands whose callback gets the context that it is annotated with."""

    context_class = typer.Context


models = typer.Typer(cls=Group, help="List the models at hand; push, pull and export them.")

Name = Annotated[str, typer.Argument(help="name in the zoo, folder, zip, or owner/name on the hub")]
Licence = Annotated[
    str | None, typer.Option("--licence", help="licence of the weights for the generated card: cc-by-4.0, mit, ...")
]


@dataclass(frozen=True)
class Held:
    """A model at hand: the name that loads it, the place where it is, what is known of it, and of its training."""

    name: str
    place: str
    about: "About"
    training: str = ""


@models.callback(invoke_without_command=True)
def overview(context: typer.Context, as_json: Json = False) -> None:
    """List the models of the package, of the cache and of ./runs; push, pull and export them."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise UserError(f"--json belongs after the name of the command: models {context.invoked_subcommand} --json")
        return
    held = list(at_hand())
    if as_json:
        print(json.dumps({"models": [_row(one) for one in held]}, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("name", "in", "what it does", "size", "licence", "score"):
        numbers = column == "size"
        table.add_column(
            column, justify="right" if numbers else "left", overflow="fold", no_wrap=numbers or column == "licence"
        )
    for one in held:
        row = one.about
        does = f"{row.kind} of {', '.join(row.modalities)}: {row.use}" if row.modalities else f"{row.kind}: {row.use}"
        does += f"; training {one.training}" if row.unfinished else ""
        size = f"{row.bytes / 2**20:.1f} MiB"
        table.add_row(one.name, one.place, does, size, row.licence or "not stated", row.score or "not measured")
    Console(markup=False, emoji=False).print(table)


@models.command()
def push(
    name: Name,
    repository: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub", metavar="OWNER/NAME")],
    private: Annotated[bool, typer.Option("--private", help="visible to its owner only, where it is new")] = False,
    licence: Licence = None,
    as_json: Json = False,
) -> None:
    """Publish a model on the Hugging Face hub, with its card; needs `hf auth login` or HF_TOKEN."""
    from vqfusion.nn.remote import names_repository

    if not names_repository(repository) or "@" in repository:
        raise UserError(f"{repository}: not the name of a repository; write owner/name")
    url = _loaded(name).push_to_hub(repository, private, licence=licence)
    print(json.dumps({"model": name, "repository": repository, "url": url}) if as_json else url)


@models.command()
def pull(
    repository: Annotated[
        str, typer.Argument(help="owner/name on the hub, or owner/name@revision", metavar="OWNER/NAME[@REVISION]")
    ],
    as_json: Json = False,
) -> None:
    """Fetch a model from the Hugging Face hub, and print the name that stands for exactly this version."""
    from vqfusion.models.about import about
    from vqfusion.nn.remote import fetch, names_repository

    if not names_repository(repository):
        raise UserError(f"{repository}: not the name of a repository; write owner/name or owner/name@revision")
    folder = fetch(repository, refresh=True)
    found = Held(f"{repository.partition('@')[0]}@{folder.name}", "cache", about(folder))
    if as_json:
        print(json.dumps(_row(found) | {"folder": str(folder)}, ensure_ascii=False))
        return
    print(found.name)
    say(f"a {found.about.kind}, {found.about.use}; --model {found.name} is this version whatever is published later")


@models.command()
def export(
    name: Name,
    output: Annotated[str | None, output_option("zip; default: <name>.zip")] = None,
    licence: Licence = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a model to one zip, which --model and vqfusion.load open."""
    path = Path(output or f"{Path(name.partition('@')[0]).name}.zip")
    _loaded(name).export(path, licence, overwrite=force)
    size = path.stat().st_size
    if as_json:
        print(json.dumps({"model": name, "output": str(path), "bytes": size}))
        return
    print(path)
    say(f"{size / 2**20:.1f} MiB; open it with --model {path} or vqfusion.load({str(path)!r})")


def at_hand() -> Iterator[Held]:
    """Models of the package, of the caches of hub and zips, and of ./runs; folders without a model are left out."""
    from vqfusion.hub import ZOO, zoo
    from vqfusion.models.about import about
    from vqfusion.runs.run import is_run, read_run

    rows = [(name, "package", ZOO / name) for name in zoo()]
    rows += [(name, "cache", folder) for name, folder in _cached()]
    rows += [(str(path.parent), "runs", path.parent) for path in sorted(RUNS.glob("*/config.json"))]
    for name, place, folder in rows:
        try:
            known = about(folder)
            run = read_run(folder) if is_run(folder) else None
            if run is not None and not known.score:
                known = replace(known, score=score_of(run))
            yield Held(name, place, known, run.state if run else "unfinished" if known.unfinished else "")
        except UserError as error:
            if place != "cache":  # the cache of the hub holds the models of other packages too
                say(f"{error}; left out")


def _cached() -> Iterator[tuple[str, Path]]:
    """Names and folders of the models in the cache of the hub, each at its commit, and of unpacked zips."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    from vqfusion.nn.archive import store

    try:
        found = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        found = frozenset()
    for repository in sorted(found, key=lambda one: one.repo_id):
        for version in sorted(repository.revisions, key=lambda one: one.commit_hash):
            if repository.repo_type == "model":
                yield f"{repository.repo_id}@{version.commit_hash}", version.snapshot_path
    for folder in sorted(store().glob("*/*/config.json")):
        yield str(folder.parent), folder.parent


def _loaded(name: str) -> Any:
    from vqfusion.hub import load

    return load(name, "cpu")


def _row(held: Held) -> dict[str, Any]:
    """Row of `--json`."""
    return {"name": held.name, "in": held.place, "training": held.training} | asdict(held.about)
