"""Restoration: denoising priors of signals, and estimates, samples and intervals from measurements."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    any_size="AnySizePrior",
    batch="restore_batch",
    fitted="FittedSample",
    intervals="Calibration",
    mirrored="MirroredPrior",
    prior="Prior",
    residual_band="ResidualBand",
    restored="Restored",
    restoring="restore",
    statistic_intervals="statistic_interval calibrate_statistic mean_of difference_of",
)
