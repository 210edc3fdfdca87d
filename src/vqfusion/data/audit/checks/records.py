"""Records that lack a slot that most others have."""

from collections.abc import Iterator

from vqfusion.data.audit.check import Check
from vqfusion.data.audit.item import Finding, Severity
from vqfusion.data.audit.survey import Survey

MOST = 0.8  # fraction of the records that have a slot, from which the others lack it


class Missing(Check):
    """Records without a slot that nearly all have."""

    name = "missing"
    severity = Severity.NOTE
    about = (
        "At least four fifths of the records have this slot and this one has not. A model of several modalities learns "
        "from it all the same; a caption or label that was forgotten can be added."
    )

    def looks_at(self, survey: Survey) -> int:
        return len(survey.records)

    def find(self, survey: Survey) -> Iterator[Finding]:
        counts = survey.slots()
        usual = [slot for slot, count in counts.items() if MOST * len(survey.records) <= count < len(survey.records)]
        for record in survey.records:
            lacking = [slot for slot in usual if slot not in record.sources]
            if lacking:
                yield Finding(record.key, f"has no {', '.join(lacking)}")
