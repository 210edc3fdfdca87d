"""`data check`: what is wrong with a data set, as a table, a page, JSON, CSV, and a manifest without it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqfusion.commands import outputs
from vqfusion.commands.options import Force, Json, output_option
from vqfusion.commands.say import plainly
from vqfusion.errors import UserError

if TYPE_CHECKING:
    from vqfusion.data import Dataset
    from vqfusion.data.audit import AuditReport, Survey

SHOWN = 3  # findings of each check in the terminal
FAIL_ON = ("serious", "warning", "never")
BRIEFLY, BRIEF_SECONDS = 200, 10.0  # records and time before a training
BRIEF = ("empty", "truncated", "unreadable", "silent", "blank", "mojibake", "leaks")  # what is looked for then


def check(
    name: Annotated[str, typer.Argument(help="a folder, a .jsonl manifest, or a built-in data set")],
    against: Annotated[str | None, typer.Option(help="second data set: what both hold, and how they differ")] = None,
    output: Annotated[str | None, output_option("page with examples, .html")] = None,
    csv: Annotated[str | None, typer.Option(help="table of all findings, .csv")] = None,
    fix: Annotated[str | None, typer.Option(help="manifest without what is wrong, .jsonl; no file is changed")] = None,
    only: Annotated[list[str], typer.Option(help="run this check only; may be repeated")] = [],  # noqa: B006
    skip: Annotated[list[str], typer.Option(help="leave this check out; may be repeated")] = [],  # noqa: B006
    limit: Annotated[int | None, typer.Option(min=1, help="look at so many records, chosen evenly")] = None,
    fail_on: Annotated[str, typer.Option(help=f"exit code 1 from this severity on: {', '.join(FAIL_ON)}")] = "serious",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Find what is wrong with a data set: damaged, doubled, leaked, silent, blurred, mislabelled, in another language.

    Exit code 0: nothing serious; 1: something serious; 2: a mistake in the command.
    """
    if fail_on not in FAIL_ON:
        raise UserError(f"--fail-on {fail_on}: choose {', '.join(FAIL_ON)}")
    files = {path: _file(path, suffix) for path, suffix in ((output, ".html"), (csv, ".csv"), (fix, ".jsonl")) if path}
    outputs.check(list(files.values()), force)
    from vqfusion.data.audit import audit, chosen_checks
    from vqfusion.data.audit.report import cleaned

    names = chosen_checks(only, skip)
    with _bar(not as_json) as stage:
        with stage("reading"):
            survey = _survey(name, limit)
        second = None
        if against:
            with stage("reading the second"):
                second = _survey(against, limit)
        with stage("checking"):
            report = audit(survey, names, second)
    made = dict[str, str | int]()
    if fix:
        lines, kept, left_out = cleaned(report, files[fix])
        if not kept:
            raise UserError(f"{fix}: nothing would be left, so nothing was written")
        outputs.write_bytes(files[fix], lines, force)
        made |= {"manifest": fix, "records_kept": kept, "left_out": left_out}
    if csv:
        outputs.write_bytes(files[csv], report.to_csv().encode(errors="backslashreplace"), force)
        made["csv"] = csv
    if output:
        from vqfusion.commands.check_page import check_page

        outputs.write_bytes(files[output], check_page(report).encode(errors="backslashreplace"), force)
        made["page"] = output
    if as_json:
        print(json.dumps(report.to_dict() | made, ensure_ascii=False))
    else:
        _show(report, name, made)
    worst = report.worst.word if report.worst is not None else ""
    if worst in FAIL_ON[: FAIL_ON.index(fail_on) + 1] and fail_on != "never":
        raise typer.Exit(1)


def brief_check(name: str, dataset: "Dataset") -> str:
    """One line on what is seriously wrong with own data, from a short look at it; "" where nothing was seen.

    Args:
        name: Folder or manifest, as the user gave it.
        dataset: The data set.

    Returns:
        The line.
    """
    from vqfusion.data import BUILT_IN, ELSEWHERE
    from vqfusion.data.audit import audit, chosen_checks, survey_of

    if name in BUILT_IN + ELSEWHERE:
        return ""
    survey = survey_of(dataset, most=BRIEFLY, seconds=BRIEF_SECONDS)
    report = audit(survey, chosen_checks(BRIEF))
    found = [f"{len(one.findings)} {one.name}" for one in report.checked if one.findings]
    if not found:
        return ""
    looked = f"{len(survey.records):,} of {survey.of_records:,} records"
    return f"{name}: {', '.join(found)} in {looked} that were looked at; `vqfusion data check {name}` lists them"


def _file(name: str, suffix: str) -> Path:
    if Path(name).suffix.lower() != suffix:
        raise UserError(f"{name}: the name must end in {suffix}")
    return Path(name)


def _survey(name: str, most: int | None = None) -> "Survey":
    from vqfusion.data import open_dataset
    from vqfusion.data.audit import survey_of

    folder = Path(name)
    dataset = open_dataset(name)
    return survey_of(dataset, folder if folder.is_dir() else None, most)


@contextmanager
def _bar(show: bool) -> Iterator:
    """Context with a function that gives stages with a progress bar and the time left, on a terminal."""
    import sys

    from vqfusion.watch import watched

    if not (show and sys.stderr.isatty()):

        @contextmanager
        def silent(doing: str) -> Iterator[None]:
            yield

        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:

        @contextmanager
        def stage(doing: str) -> Iterator[None]:
            task = progress.add_task(doing, total=1.0)
            with watched(lambda fraction: progress.update(task, completed=fraction)):
                yield
            progress.update(task, completed=1.0)

        yield stage


def _show(report: "AuditReport", name: str, made: dict[str, str | int]) -> None:
    from rich.console import Console
    from rich.table import Table

    survey = report.survey
    folder = os.path.join(name, "")

    def within(text: str) -> str:
        return plainly(text.replace(folder, ""))  # names within the folder that was given

    looked = f"{len(survey.records):,} of {survey.of_records:,} records, {len(survey.items):,} files and texts"
    table = Table(title=f"{survey.name}: {looked}", title_justify="left")
    for column, side in (("check", "left"), ("severity", "left"), ("found", "right"), ("of", "right")):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    table.add_column("such as", overflow="fold")
    for one in report.checked:
        if one.findings:
            shown = [f"{within(found.name)}: {within(found.detail)}" for found in one.findings[:SHOWN]]
            more = len(one.findings) - SHOWN
            rest = [f"and {more:,} more"] if more > 0 else []
            row = (one.name, one.severity.word, f"{len(one.findings):,}", f"{one.looked_at:,}", "\n".join(shown + rest))
            table.add_row(*row)
    for shift in report.shifts:
        if shift.large:
            said = f"{shift.before:.4g} here, {shift.after:.4g} in {report.against}: distance {shift.distance:.2f}"
            table.add_row(f"drift {shift.slot}", "warning", plainly(shift.what), "", said)
    console = Console(markup=False, emoji=False)
    console.print(table)
    clean = [one.name for one in report.checked if not one.findings and one.looked_at]
    console.print(f"nothing found by: {', '.join(clean)}", highlight=False)
    if "manifest" in made:
        print(f"{made['manifest']}: {made['records_kept']} records, {made['left_out']} files and texts left out")
    for kind in ("csv", "page"):
        if kind in made:
            print(made[kind])
