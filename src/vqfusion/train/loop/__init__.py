"""The training loop, and what survives a restart."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    accelerator="make_accelerator",
    metrics="Metrics",
    muon="Muon",
    power_average="PowerAverage averaged reconstruct",
    run="RunFolder",
    signals="Interrupted",
)
