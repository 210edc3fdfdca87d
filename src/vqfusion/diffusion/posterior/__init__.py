"""Posterior sampling of signals given a measurement, with a prior and an operator."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    gradient="dps",
    null_space="ddnm ddrm",
    proximal="diffpir plug_and_play",
    question="RestorationPrior Question",
)
