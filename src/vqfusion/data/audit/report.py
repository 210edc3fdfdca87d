"""The result of all checks of a data set: counts, findings, JSON, CSV, and the manifest without what was found."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vqfusion.data.audit.checks import CHECKS
from vqfusion.data.audit.drift import Shift, shared, shifts
from vqfusion.data.audit.item import Finding, Severity
from vqfusion.data.audit.survey import Survey, file_of, is_content, name_in, row_of
from vqfusion.errors import UserError
from vqfusion.watch import told

SHARED = "shared"
ABOUT_SHARED = "The other data set holds the same, or nearly the same: a score that is measured there is too good."


@dataclass(frozen=True)
class Checked:
    """What one check found.

    Attributes:
        name: Name of the check.
        severity: How bad a finding is.
        about: What it means.
        looked_at: Number of items that it could judge.
        findings: The findings, the worst first.
    """

    name: str
    severity: Severity
    about: str
    looked_at: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class AuditReport:
    """The result of all checks.

    Attributes:
        survey: What was looked at.
        checked: Result of each check.
        against: Name of the other data set, or "".
        shifts: Differences from the other data set.
    """

    survey: Survey
    checked: tuple[Checked, ...]
    against: str = ""
    shifts: tuple[Shift, ...] = field(default=())

    @property
    def worst(self) -> Severity | None:
        """Highest severity of a finding; None where nothing was found."""
        found = [one.severity for one in self.checked if one.findings]
        found += [Severity.WARNING] if any(shift.large for shift in self.shifts) else []
        return max(found, default=None)

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        survey = self.survey
        return {
            "data": survey.name,
            "records": survey.of_records,
            "records_looked_at": len(survey.records),
            "items": len(survey.items),
            "slots": dict(survey.slots()),
            "worst": self.worst.word if self.worst is not None else None,
            "checks": [
                {
                    "check": one.name,
                    "severity": one.severity.word,
                    "count": len(one.findings),
                    "looked_at": one.looked_at,
                    "about": one.about,
                    "findings": [asdict(finding) for finding in one.findings],
                }
                for one in self.checked
            ],
            "against": self.against or None,
            "shifts": [asdict(shift) for shift in self.shifts],
        }

    def to_csv(self) -> str:
        """One row for each finding."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("check", "severity", "name", "detail", "value"))
        for one in self.checked:
            for found in one.findings:
                writer.writerow((one.name, one.severity.word, found.name, found.detail, found.value))
        return buffer.getvalue()


def chosen_checks(only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[str]:
    """Names of the checks to run; UserError for a name that is none."""
    for name in (*only, *skip):
        if name not in CHECKS:
            raise UserError(f"no check {name!r}: choose from {', '.join(CHECKS)}")
    return [name for name in only or CHECKS if name not in skip]


def audit(survey: Survey, names: Sequence[str], against: Survey | None = None) -> AuditReport:
    """Run checks.

    Args:
        survey: What was looked at.
        names: Names of the checks, as `chosen_checks` gives them.
        against: Another data set to compare with.

    Returns:
        The report, with the checks in decreasing severity.
    """
    checked = []
    for name in told(names):
        check = CHECKS[name]()
        findings = tuple(check.find(survey))
        checked.append(Checked(name, check.severity, check.about, check.looks_at(survey), findings))
    found: Iterable[Shift] = ()
    if against is not None:
        both = tuple(shared(survey, against))
        checked.append(Checked(SHARED, Severity.SERIOUS, ABOUT_SHARED, len(survey.items), both))
        found = shifts(survey, against)
    checked.sort(key=lambda one: -one.severity)
    return AuditReport(survey, tuple(checked), against.name if against else "", tuple(found))


def cleaned(report: AuditReport, place: Path) -> tuple[bytes, int, int]:
    """The data set as a manifest without the items that checks drop; the files stay as they are.

    A record whose only signals, or whose only texts, are dropped is left out; of others the slot is.

    Args:
        report: The report.
        place: File that the manifest will be written to; files are named relative to its folder.

    Returns:
        The lines, the number of records in them, and the number of slots and records that were left out.
    """
    found = [finding for one in report.checked for finding in one.findings if finding.drop]
    dropped = {(finding.name, finding.only_in) for finding in found}
    lines, left_out = [], 0
    for record in report.survey.records:
        row: dict[str, str] = {}
        for slot, source in record.sources.items():
            path = file_of(source)
            name = name_in(record, slot)
            if (name, "") in dropped or (name, record.split) in dropped:
                left_out += 1
            elif path is not None and row_of(slot).rank:
                row[slot] = os.path.relpath(path, place.parent)
            elif row_of(slot).rank:
                noun = row_of(slot).plural
                raise UserError(f"{report.survey.name}: its {noun} are no files, so that no manifest can name them")
            else:
                with suppress(UserError):
                    row[slot] = str(record.load(slot).data)
        if not any(map(is_content, row)):
            continue
        try:
            lines.append(json.dumps({"key": record.key, "split": record.split, **row}, ensure_ascii=False).encode())
        except UnicodeEncodeError:  # the name of a file is not UTF-8, which a manifest cannot hold
            left_out += 1
    return b"".join(line + b"\n" for line in lines), len(lines), left_out
