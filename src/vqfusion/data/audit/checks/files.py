"""Files that cannot be used at all, and files that nobody uses."""

from collections.abc import Iterator
from typing import ClassVar

from vqfusion.data.audit.check import Check
from vqfusion.data.audit.item import Finding, Severity
from vqfusion.data.audit.survey import Survey


class FaultCheck(Check):
    """Files with a fault that was seen while they were read."""

    severity = Severity.SERIOUS
    fault: ClassVar[str]

    def find(self, survey: Survey) -> Iterator[Finding]:
        for item in survey.items:
            if item.fault == self.fault:
                yield Finding(item.name, item.why, drop=True)


class Empty(FaultCheck):
    """Files without content."""

    name = fault = "empty"
    about = "Holds no bytes, samples, pixels or letters. Training stops at such a file, or skips it."


class Truncated(FaultCheck):
    """Files whose end is missing."""

    name = fault = "truncated"
    about = "The end of the file is missing, as after a broken download; some readers fill the rest without a word."


class Unreadable(FaultCheck):
    """Files that cannot be read."""

    name = fault = "unreadable"
    about = "Cannot be opened or decoded, or holds another kind of content than its name says."


class Unused(Check):
    """Files that no record uses."""

    name = "unused"
    severity = Severity.NOTE
    about = "Lies in the folder, but no record uses it: an unknown suffix, a text without a signal, a broken link."

    def looks_at(self, survey: Survey) -> int:
        return len(survey.items) + len(survey.strays)

    def find(self, survey: Survey) -> Iterator[Finding]:
        for name, reason in survey.strays:
            yield Finding(name, reason)


class OddName(Check):
    """File names that other systems and programs cannot handle."""

    name = "odd-name"
    severity = Severity.NOTE
    about = "The name holds control characters or bytes that are not UTF-8; other systems and lists cannot name it."

    def find(self, survey: Survey) -> Iterator[Finding]:
        for name in [item.name for item in survey.items if item.path] + [name for name, _ in survey.strays]:
            if not name.isprintable():
                yield Finding(name, "control characters, or bytes that are not UTF-8")
