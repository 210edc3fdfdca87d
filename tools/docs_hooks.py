"""Makes the documentation site of what the repository holds: `make docs` (MkDocs calls the functions below).

- Links from a page to a file outside `docs/` (a model card, a benchmark, SECURITY.md) work in the site too: the file
  goes along under `repository/`.
- The API reference has a page for every public package, from the names that the package exports.
- `<!-- options: denoise -->` becomes the table of the options of a command, from the command itself;
  `<!-- commands -->`, `<!-- limits -->` and `<!-- packages -->` become the lists of what there is.
"""

import os
import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
DOCS, ELSEWHERE = ROOT / "docs", "repository/"
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
OPTIONS = re.compile(r"^<!-- options: ([a-z ]+) -->$", re.MULTILINE)
PACKAGES = {
    "vqfusion": "What `import vqfusion` offers: the names that most programs need.",
    "vqfusion.tokenizers": "Samples to tokens and back.",
    "vqfusion.tokenizers.quantizers": "Vectors to codes and back: nineteen quantizers, one contract.",
    "vqfusion.tokenizers.codec": "Codes as files: entropy model and range coder.",
    "vqfusion.tokenizers.transform": "Photographs to rounded latents and bits: transforms, context model, coder.",
    "vqfusion.tokenizers.conformance": "Checks that a quantizer or a tokenizer of your own keeps the contract.",
    "vqfusion.diffusion": "Data to noise and back.",
    "vqfusion.diffusion.gaussian": "Gaussian diffusion: paths, denoisers, samplers, guidance, likelihood.",
    "vqfusion.diffusion.masked": "Masked diffusion of tokens.",
    "vqfusion.diffusion.operators": "What was done to a signal: noise, holes, blur, smaller size.",
    "vqfusion.diffusion.posterior": "Samplers of what a signal was, given a measurement of it.",
    "vqfusion.models": "Joins codes, diffusion and data.",
    "vqfusion.models.fusion": "One transformer over slots.",
    "vqfusion.models.restoration": "One prior, any operator, and intervals.",
    "vqfusion.models.restoration.gaps": "Gaps of series and tables, filled in with intervals.",
    "vqfusion.models.latent": "Diffusion over a tokenizer.",
    "vqfusion.models.codec": "Codes of a model as files.",
    "vqfusion.models.decision": "Calibrated decisions with what is at hand.",
    "vqfusion.tasks": "What people ask: one small class a task.",
    "vqfusion.train": "How weights are made.",
    "vqfusion.train.codec": "Training of tokenizers, and of entropy models over their codes.",
    "vqfusion.train.fusion": "Training of a model over slots.",
    "vqfusion.train.latent": "Training of diffusion in latents.",
    "vqfusion.train.loop": "The loop that every training runs in.",
    "vqfusion.train.restoration": "Training of priors.",
    "vqfusion.evaluate": "How good it is, beside what.",
    "vqfusion.evaluate.baselines": "Simple methods that results stand beside.",
    "vqfusion.inspect": "What a model has learned.",
    "vqfusion.inspect.attribution": "Why a model answers as it does.",
    "vqfusion.nn": "Parts of networks.",
    "vqfusion.data": "Raw files to samples and back.",
    "vqfusion.data.audit": "What is wrong with a data set.",
    "vqfusion.config": "Configs: typed, strict, from YAML and JSON.",
    "vqfusion.compress": "Models for other runtimes.",
    "vqfusion.sklearn": "Estimators for scikit-learn.",
    "vqfusion.napari": "What the plugin for napari calls.",
}


def public_names(package: str) -> dict[str, str]:
    """Public names of a package, each with the dotted path of where it is defined; modules are left out."""
    module = import_module(package)
    found = {name: getattr(module, name) for name in getattr(module, "__all__", ()) if name != "__version__"}
    wanted = sorted(name for name, value in found.items() if not isinstance(value, ModuleType))
    return {name: _home(package, name, found[name]) for name in wanted}


@cache
def homes() -> dict[str, str]:
    """Package whose page describes a dotted path: the innermost one that exports it."""
    found: dict[str, str] = {}
    for package in sorted(PACKAGES, key=lambda one: one.count(".")):
        for path in public_names(package).values():
            if path.startswith(f"{package}.") or path not in found:
                found[path] = package
    return found


def reference(package: str) -> str:
    """Page of the API reference for a package: what is described elsewhere as a list of links."""
    names = public_names(package)
    here = [path for path in names.values() if homes()[path] == package]
    rows = [
        f"| [`{name}`][{path}] | [{homes()[path]}]({homes()[path]}.md) |"
        for name, path in names.items()
        if homes()[path] != package
    ]
    table = ["| also here | described in |", "|---|---|", *rows, ""] if rows else []
    entries = [f"::: {path}\n" for path in here]
    return "\n".join([f"# `{package}`", "", PACKAGES[package], "", *table, *entries])


def options(command: str) -> str:
    """Table of the options of a command, such as `denoise` or `models push`."""
    import typer

    from vqfusion.commands.app import app

    found = typer.main.get_command(app)
    for part in command.split():
        found = found.commands[part]
    rows = [one for one in found.params if one.param_type_name == "option" and one.name != "help"]
    lines = [f"| `{', '.join(one.opts)}` | {one.help.replace('|', ', ')} |" for one in rows]
    return "\n".join(["| option | meaning |", "|---|---|", *lines])


def limits() -> str:
    """Table of the limits of `vqfusion.limits`."""
    from vqfusion import limits as module

    rows = ["| variable | default | what is counted |", "|---|---|---|"]
    for name, limit in sorted(vars(module).items()):
        if isinstance(limit, module.Limit):
            own = limit.default is module.memory_of_machine
            default = "memory of the machine, container or process" if own else f"{limit.default():,}"
            rows.append(f"| `{limit.variable}` | {default} | {limit.unit}: {name.lower().replace('_', ' ')} |")
    return "\n".join(rows)


def commands() -> str:
    """Every command with its help and its options."""
    import typer

    from vqfusion.commands.app import app

    made = []
    for name, one in typer.main.get_command(app).commands.items():
        inner = {f"{name} {sub}": of for sub, of in getattr(one, "commands", {}).items()}
        for full, command in ({name: one} | inner).items():
            first = (command.help or "").split("\n\n")[0]
            made += [f"## `vqfusion {full}`", "", " ".join(first.split()), "", options(full), ""]
    return "\n".join(made)


def packages() -> str:
    """List of the pages of the API reference."""
    rows = [f"| [`{name}`]({name}.md) | {said} |" for name, said in PACKAGES.items()]
    return "\n".join(["| package | what it holds |", "|---|---|", *rows])


MADE = {"<!-- limits -->": limits, "<!-- commands -->": commands, "<!-- packages -->": packages}


def on_files(files, config):
    """Add the reference, and the files outside `docs/` that a page links to."""
    for package in PACKAGES:
        files.append(File.generated(config, f"reference/{package}.md", content=reference(package)))
    pending = [DOCS / one.src_uri for one in files.documentation_pages() if one.generated_by is None]
    known = set()
    while pending:
        page = pending.pop()
        for target in sorted(linked(page)):
            if target.is_relative_to(DOCS) or target in known:
                continue
            known.add(target)
            uri = ELSEWHERE + target.relative_to(ROOT).as_posix()
            files.append(File.generated(config, _named(uri), abs_src_path=str(target)))
            if target.suffix == ".md":
                pending.append(target)
    return files


def on_page_markdown(markdown, page, config, files):
    """Point links to where their files are in the site, and fill in the tables of options."""
    markdown = OPTIONS.sub(lambda found: options(found[1]), markdown)
    for mark, make in MADE.items():
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    source = _source(page.file.src_uri)
    if source is None:
        return markdown
    here = os.path.dirname(page.file.src_uri)

    def moved(found):
        target = _target(source, found[2])
        if target is None:
            return found[0]
        uri = (
            target.relative_to(DOCS).as_posix()
            if target.is_relative_to(DOCS)
            else _named(ELSEWHERE + target.relative_to(ROOT).as_posix())
        )
        return found[1] + os.path.relpath(uri, here or ".") + found[3]

    parts, at = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(moved, markdown[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join(parts) + LINK.sub(moved, markdown[at:])


def linked(page: Path) -> set[Path]:
    """Files of the repository that a page links to, outside blocks of code."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    found = {_target(page, link[2]) for link in LINK.finditer(text)}
    return {one for one in found if one is not None}


def _target(page: Path, link: str) -> Path | None:
    """File that a link names; None for other addresses and for what is not there."""
    if re.match(r"[a-z]+:", link):
        return None
    target = (page.parent / link).resolve()
    return target if target.is_file() and target.is_relative_to(ROOT) else None


def _source(uri: str) -> Path | None:
    """File of the repository that a page of the site was made from; None for generated ones."""
    if uri.startswith(ELSEWHERE):
        path = ROOT / uri.removeprefix(ELSEWHERE)
        return path if path.is_file() else path.with_name("README.md")
    return DOCS / uri if (DOCS / uri).is_file() else None


def _named(uri: str) -> str:
    """Address in the site: pages named README would stand in for the index of their folder."""
    return uri.replace("README.md", "card.md") if "/zoo/" in uri else uri


def _home(package: str, name: str, value: object) -> str:
    """Dotted path at which a name is defined."""
    module, qualified = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if isinstance(module, str) and module.startswith("vqfusion") and qualified == name:
        return f"{module}.{name}"
    for candidate in sorted(sys.modules):  # a constant: the module that assigns it
        found = sys.modules[candidate]
        path = getattr(found, "__file__", None)
        inside = candidate == package or candidate.startswith(f"{package}.") or candidate.startswith("vqfusion.")
        if (
            inside
            and path
            and vars(found).get(name) is value
            and re.search(rf"^{name}\b[^=\n]*=", Path(path).read_text(encoding="utf-8"), re.MULTILINE)
        ):
            return f"{candidate}.{name}"
    return f"{package}.{name}"
