"""Measurements of volumes and series, whose values may have any unit: gaps, constancy, coarse shape."""

import numpy as np
import torch
from torch.nn import functional

from vqfusion.data.audit.item import Measured
from vqfusion.types import Sample

SERIES, VOLUME = 64, (5, 5, 5)  # coarse cells
MOST_CHANNELS = 4
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
MOST = 10**6  # values that quantiles are taken of


def measure_array(sample: Sample) -> Measured:
    """Measure a volume or series `[C, *size]`; missing values are NaN."""
    data = sample.data.detach().cpu().to(torch.float64)
    known = torch.isfinite(data)
    counts = known.flatten(1).sum(1)
    filled = torch.where(known, data, 0.0)
    means = filled.flatten(1).sum(1) / counts.clamp_min(1)
    shape = (-1, *[1] * (data.ndim - 1))
    centred = torch.where(known, data - means.reshape(shape), 0.0)
    spreads = (centred.square().flatten(1).sum(1) / counts.clamp_min(1)).sqrt()
    constant = spreads <= 1e-6 * means.abs().clamp_min(1e-30)
    facts = {
        "missing": float(1 - known.double().mean()),
        "constant": float(constant.double().mean()),
    }
    sizes = {f"axis {i}": float(length) for i, length in enumerate(data.shape[1:])} | {"channels": float(len(data))}
    if bool(constant.all()):
        return Measured(facts, sizes)
    scaled = centred / spreads.clamp_min(1e-30).reshape(shape)
    shown = scaled[:MOST_CHANNELS].float()
    cells = (
        functional.adaptive_avg_pool1d(shown, SERIES)
        if data.ndim == 2
        else functional.adaptive_avg_pool3d(shown, VOLUME)
    )
    coarse = cells.flatten().numpy()
    longest = MOST_CHANNELS * cells[0].numel()
    values = data[known].numpy()
    quantiles = np.quantile(values[:: max(1, len(values) // MOST)], QUANTILES)
    embedding = np.concatenate([coarse, np.sign(quantiles) * np.log1p(np.abs(quantiles))])
    signature = np.pad(coarse, (0, longest - len(coarse)))
    unit = signature / max(float(np.linalg.norm(signature)), 1e-9)
    padded = np.pad(embedding, (0, len(signature) + len(QUANTILES) - len(embedding)))
    return Measured(facts, sizes, unit.astype(np.float16), padded.astype(np.float16))
