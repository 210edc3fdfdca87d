"""European Data Format: signals of equal length in records, in 16 bits."""

from typing import Any

import numpy as np

from vqfusion.data.io.decoding import decoding
from vqfusion.errors import UserError

ANNOTATIONS = "EDF Annotations"


def read_edf(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Values `[C, T]` in the units of the file, and keyword arguments for a `Sample`.

    Kemp, Värri, Rosa, Nielsen, Gade (1992); EDF+: Kemp, Olivan (2003). Personal data are not read.
    """
    with decoding(name, "EDF file"):
        count, records, seconds = int(data[252:256]), int(data[236:244]), float(data[244:252])
        if count < 1:
            raise UserError(f"{name}: holds {count} channels")
        labels = _column(data, count, 0, 16)
        samples = [int(cell) for cell in _column(data, count, 216, 8)]
        ranges = [np.array(_column(data, count, at, 8), float) for at in (104, 112, 120, 128)]
    if data[192:197] == b"EDF+D":
        raise UserError(f"{name}: is an EDF+ file with interruptions; give one without gaps")
    kept = [i for i, label in enumerate(labels) if label != ANNOTATIONS]
    if not 0 < seconds < float("inf"):
        raise UserError(f"{name}: is broken: its records last {seconds:g} s")
    per_record = {samples[i] for i in kept}
    if len(per_record) != 1:
        rates = ", ".join(f"{samples[i] / seconds:g}" for i in kept) or "none"
        raise UserError(f"{name}: its channels have the rates {rates} Hz; give channels of one rate")
    if min(samples) < 0 or min(per_record) < 1:
        raise UserError(f"{name}: holds no values")
    if not all(np.isfinite(one).all() for one in ranges):
        raise UserError(f"{name}: is broken: the range of a channel is not finite")
    start, width = 256 * (count + 1), sum(samples)
    whole = (len(data) - start) // (2 * width)
    if whole < max(records, 1):
        raise UserError(f"{name}: is cut short: {max(whole, 0)} of {records} records")
    raw = np.frombuffer(data, "<i2", (records if records > 0 else whole) * width, start).reshape(-1, width)
    starts = np.cumsum([0, *samples])
    low, high, least, most = ranges
    gain = (high - low) / np.where(most > least, most - least, 1)
    values = [(raw[:, starts[i] : starts[i + 1]].reshape(-1) - least[i]) * gain[i] + low[i] for i in kept]
    notes = ("its annotations are left out",) if len(kept) < len(labels) else ()
    rate = per_record.pop() / seconds
    return np.stack(values), {"rate_hz": rate, "channel_names": tuple(labels[i] for i in kept), "notes": notes}


def _column(data: bytes, count: int, before: int, width: int) -> list[str]:
    """One field of the header, for every channel."""
    start = 256 + before * count
    return [data[start + i * width : start + (i + 1) * width].decode("latin-1").strip() for i in range(count)]
