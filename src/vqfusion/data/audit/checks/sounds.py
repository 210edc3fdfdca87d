"""Sounds that are silent, clipped, off centre, or at a rate that they do not have."""

from collections.abc import Sequence

import numpy as np

from vqfusion.data.audit.check import FEWEST, FactCheck
from vqfusion.data.audit.item import Item, Severity

SILENT_DB = -60.0  # root mean square of the loudest 50 ms, relative to full scale
CLIPPED = 0.001  # fraction of the samples
OFFSET, OFFSET_SHARE = 0.01, 0.1  # of full scale, and of the root mean square
CUTOFF, DROP_DB = 0.7, 25.0  # MP3 and Opus at usual bit rates keep more than 0.7 of the band
USUAL = 0.8  # share of the sounds at the most frequent rate from which another rate is unusual


class Silent(FactCheck):
    """Sounds without anything to hear."""

    name = "silent"
    severity = Severity.SERIOUS
    about = "The loudest twentieth of a second is 60 dB below full scale: nothing is heard."
    fact = "level_db"
    drop = True

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        return values < SILENT_DB

    def said(self, value: float, item: Item) -> str:
        return "digital silence" if value < -150 else f"loudest part at {value:.0f} dB of full scale"


class Clipped(FactCheck):
    """Sounds that were cut off at some level."""

    name = "clipped"
    severity = Severity.WARNING
    about = "The wave is cut off at its extremes, three samples or more in a row: recorded too loud, it is distorted."
    fact = "clipped"

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        return values > CLIPPED

    def said(self, value: float, item: Item) -> str:
        return f"{100 * value:.2g} % of the samples are cut off"


class Offset(FactCheck):
    """Sounds whose mean is not zero."""

    name = "offset"
    severity = Severity.WARNING
    about = "The wave is not centred on zero (DC offset), which wastes level and clicks at cuts; subtract the mean."
    fact = "offset"

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        share = np.array([item.measured.facts["offset_share"] for item in items if item.measured])
        return (values > OFFSET) & (share > OFFSET_SHARE)

    def said(self, value: float, item: Item) -> str:
        return f"mean of {100 * value:.1f} % of full scale"


class FalseRate(FactCheck):
    """Sounds that hold nothing above a frequency far below half their sample rate."""

    name = "false-rate"
    severity = Severity.WARNING
    about = (
        "Nothing lies above a frequency far below half the sample rate: it was recorded at a lower rate, or went "
        "through a telephone or a codec, and was stored at a higher one. A model learns that half of its band is empty."
    )
    fact = "cutoff"

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        drops = np.array([item.measured.facts["cutoff_drop_db"] for item in items if item.measured])
        return (values < CUTOFF) & (drops > DROP_DB)

    def said(self, value: float, item: Item) -> str:
        rate = item.measured.facts["sample_rate_hz"] if item.measured else 0.0
        return f"nothing above {value * rate / 2:.0f} Hz, at {rate:.0f} samples a second"


class OddRate(FactCheck):
    """Sounds at another sample rate than most."""

    name = "odd-rate"
    severity = Severity.WARNING
    about = (
        "Its sample rate differs from that of nearly all others. Training resamples it, but where the rate is wrong in "
        "the file it plays at the wrong speed: listen to it."
    )
    fact = "sample_rate_hz"

    def bad(self, values: np.ndarray, items: Sequence[Item]) -> np.ndarray:
        rates, counts = np.unique(values, return_counts=True)
        usual = counts.argmax()
        clear = len(values) >= FEWEST and counts[usual] >= USUAL * len(values)
        return (values != rates[usual]) & clear

    def said(self, value: float, item: Item) -> str:
        return f"{value:.0f} samples a second"
