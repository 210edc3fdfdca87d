"""Evaluation: metrics, baselines and the table of results."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    frechet="frechet_distance FeatureNetwork",
    metrics="Proportion accuracy character_error_rate edit_distance expected_calibration_error psnr ssim stoi "
    "usage_and_perplexity",
    report="Row Report",
    table="evaluate",
)
