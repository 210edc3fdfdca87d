"""DECIDE: a calibrated distribution, a set that holds the truth, the cheapest action, and what to acquire next."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    decider="Decider Decision Case",
    costs="Costs",
    calibration="Calibration",
    acquisition="Gain",
)
