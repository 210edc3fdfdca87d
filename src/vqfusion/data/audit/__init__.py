"""What is wrong with a data set: every file is looked at once, then checks, each a small class, judge them all."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    check="Check FactCheck",
    checks="CHECKS",
    item="Finding Item Measured Severity",
    report="AuditReport audit chosen_checks cleaned",
    survey="Survey survey_of",
)
