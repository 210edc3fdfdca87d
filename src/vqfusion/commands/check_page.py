"""Page of `data check`: every check with its findings, and examples to look at and listen to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vqfusion.commands.say import plainly
from vqfusion.pages import page

if TYPE_CHECKING:
    from vqfusion.data.audit import AuditReport
    from vqfusion.data.audit.report import Checked

ROWS, EXAMPLES, SIDE = 50, 8, 192  # findings and examples of each check, and pixels of an example
MOST_SHIFTS = 30


def check_page(report: "AuditReport") -> str:
    """Whole page as HTML."""
    survey = report.survey
    found = [one for one in report.checked if one.findings]
    sections = {"overview": _overview(report)}
    for one in found:
        sections[one.name] = _section(report, one)
    if report.shifts:
        sections["drift"] = _drift(report)
    slots = [f"{count:,} {slot}" for slot, count in survey.slots().items()]
    worst = report.worst.word if report.worst is not None else "nothing found"
    chips = [f"{len(survey.records):,} of {survey.of_records:,} records", *slots, f"worst: {worst}"]
    about = (
        "What is wrong with a data set. Serious findings spoil a training or its scores, warnings are to be looked at, "
        "notes are facts. Findings of a check are ordered, the worst first."
    )
    clean = [one.name for one in report.checked if not one.findings and one.looked_at]
    footer = f"Nothing found by: {', '.join(clean)}." if clean else ""
    return page.page(f"vqfusion, check of {plainly(survey.name)}", about, chips, sections, footer)


def _overview(report: "AuditReport") -> str:
    rows = []
    for one in report.checked:
        share = f"{100 * len(one.findings) / one.looked_at:.2f} %" if one.looked_at else ""
        count = page.strong(f"{len(one.findings):,}") if one.findings else page.soft("0")
        severity = page.marked(one.severity.word, False) if one.findings and one.severity == 2 else one.severity.word
        rows.append((one.name, severity, count, f"{one.looked_at:,}", share))
    body = page.table(("check", "severity", "found", "looked at", "share"), rows)
    return page.section("overview", "Overview", "Every check that was run.", "", body)


def _section(report: "AuditReport", one: "Checked") -> str:
    rows = [(page.isolated(plainly(found.name)), page.isolated(plainly(found.detail))) for found in one.findings[:ROWS]]
    parts: list[str] = list(_examples(report, one))
    parts.append(page.table(("name", "what was found"), rows))
    if len(one.findings) > ROWS:
        parts.append(page.paragraph(f"And {len(one.findings) - ROWS:,} more; --csv writes all of them."))
    right = f"{len(one.findings):,} of {one.looked_at:,}, {one.severity.word}"
    return page.section(one.name, one.name, one.about, "", page.joined(*parts), right)


def _examples(report: "AuditReport", one: "Checked") -> Iterator[str]:
    """The first findings as pictures and sounds, each beside what it is compared with."""
    tiles = []
    for found in one.findings:
        shown = [part for name in (found.name, *found.with_names[:1]) if (part := _shown(report, name))]
        if shown:
            tiles.append(page.joined(*shown) if len(shown) == 1 else page.strip(shown))
        if len(tiles) == EXAMPLES:
            break
    if tiles:
        yield page.grid(tiles, 250)


def _shown(report: "AuditReport", name: str) -> str:
    """A file as a picture or a player; "" where it cannot be shown."""
    from vqfusion.data.io import read
    from vqfusion.data.transforms import fit_picture
    from vqfusion.errors import UserError
    from vqfusion.modalities import MODALITIES

    item = next((item for item in report.survey.items if item.name == name), None)
    if item is None or item.path is None or item.measured is None:
        return ""
    kind, caption = MODALITIES[item.modality], plainly(item.path.name)
    try:
        if kind.pictured:
            data = read(item.path, item.modality).data
            longest = max(data.shape[1:])
            return page.picture(fit_picture(data, SIDE) if longest > SIDE else data, caption)
        if kind.heard and item.measured.sizes.get("seconds", 0.0) < 30:
            return page.player(read(item.path, item.modality), caption)
    except UserError:
        return ""
    return ""


def _drift(report: "AuditReport") -> str:
    rows = []
    for shift in report.shifts[:MOST_SHIFTS]:
        distance = f"{shift.distance:.2f}"
        values = ("", "") if shift.what == "features" else (f"{shift.before:.4g}", f"{shift.after:.4g}")
        marked = page.marked(distance, False) if shift.large else distance
        rows.append((shift.slot, page.isolated(plainly(shift.what)), *values, marked))
    head = ("slot", "what", "median or share here", "there", "distance")
    about = (
        "Sizes and measurements: distance of Kolmogorov and Smirnov, from 0 (alike) to 1. Features: area under the "
        "curve of a classifier that tells the sets apart, 0.5 is chance. Labels: difference of the shares. Coloured: "
        "larger than chance and than what usually matters."
    )
    title = f"Differences from {plainly(report.against)}"
    return page.section("drift", title, about, "", page.table(head, rows))
