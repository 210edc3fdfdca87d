"""European Data Format: signals of equal length in records, in 16 bits, read and written back.

Kemp, Värri, Rosa, Nielsen, Gade (1992); EDF+: Kemp, Olivan (2003).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vqfusion.data.io.decoding import decoding
from vqfusion.errors import UserError

ANNOTATIONS = "EDF Annotations"
UNIT, RANGES, SAMPLES = 96, (104, 112, 120, 128), 216  # bytes of a channel before these fields of the header
FIELD = 8  # characters of each of them


@dataclass(frozen=True)
class StoredEdf:
    """A file with one rate, to be written back with other values; its header and annotations stay.

    Attributes:
        data: Bytes of the file, without what follows its last whole record.
        channels: Its channels with values; the others hold annotations.
        values: Their values `[C, T]` in the units of the file.
        samples: Samples of each channel in a record, annotations included.
        ranges: Physical minimum and maximum, digital minimum and maximum of each channel.
    """

    data: bytes
    channels: tuple[int, ...]
    values: np.ndarray
    samples: tuple[int, ...]
    ranges: tuple[np.ndarray, ...]

    @property
    def start(self) -> str:
        """Start of the recording, such as 31.12.24 23.59.00."""
        return f"{self.data[168:176].decode('latin-1')} {self.data[176:184].decode('latin-1')}".strip()

    @property
    def units(self) -> tuple[str, ...]:
        """Physical unit of each channel with values."""
        units = _column(self.data, len(self.samples), UNIT, FIELD)
        return tuple(units[i] for i in self.channels)

    def real(self) -> "StoredEdf":
        """The same for values other than those of the channels, such as widths of intervals."""
        none = np.zeros_like(self.ranges[0])
        return replace(self, values=np.full_like(self.values, np.nan), ranges=(none, none, *self.ranges[2:]))

    def to_bytes(self, values: np.ndarray) -> bytes:
        """Bytes of the file with these values `[C, T]`, rounded to 16 bits; unchanged ones stay as they are stored.

        A channel whose values lie beyond its physical range gets a wider one.
        """
        made, count, width = bytearray(self.data), len(self.samples), sum(self.samples)
        body = np.frombuffer(made, "<i2", offset=256 * (count + 1)).reshape(-1, width)
        starts = np.cumsum([0, *self.samples])
        for i, new, old in zip(self.channels, values, self.values, strict=True):
            low, high, least, most = (float(one[i]) for one in self.ranges)
            known = new == old
            changed = new[~known]
            if changed.size == 0:
                continue
            if most <= least or low == high or not min(low, high) <= changed.min() <= changed.max() <= max(low, high):
                low, high = min(low, high, float(new.min())), max(low, high, float(new.max()))
                high = high if high > low else low + (abs(low) or 1.0)
                least, most, known = -32768.0, 32767.0, np.zeros_like(known)
                texts = _field(low, -1), _field(high, 1), "-32768", "32767"
                for text, before in zip(texts, RANGES, strict=True):
                    place = 256 + before * count + FIELD * i
                    made[place : place + FIELD] = text.ljust(FIELD).encode()
                low, high = float(texts[0]), float(texts[1])
            digital = np.rint((new - low) / (high - low) * (most - least) + least).clip(least, most)
            part = body[:, starts[i] : starts[i + 1]]
            part[:] = np.where(known.reshape(part.shape), part, digital.reshape(part.shape))
        return bytes(made)


def read_edf(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Values `[C, T]` in the units of the file, and keyword arguments for a `Sample`; personal data are not read."""
    with decoding(name, "EDF file"):
        count, records, seconds = int(data[252:256]), int(data[236:244]), float(data[244:252])
        if count < 1:
            raise UserError(f"{name}: holds {count} channels")
        labels = _column(data, count, 0, 16)
        samples = [int(cell) for cell in _column(data, count, SAMPLES, FIELD)]
        ranges = tuple(np.array(_column(data, count, at, FIELD), float) for at in RANGES)
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
    held = (records if records > 0 else whole) * width
    raw = np.frombuffer(data, "<i2", held, start).reshape(-1, width)
    starts = np.cumsum([0, *samples])
    low, high, least, most = ranges
    gain = (high - low) / np.where(most > least, most - least, 1)
    values = np.stack([(raw[:, starts[i] : starts[i + 1]].reshape(-1) - least[i]) * gain[i] + low[i] for i in kept])
    notes = ("its annotations are not read",) if len(kept) < len(labels) else ()
    names, rate = tuple(labels[i] for i in kept), per_record.pop() / seconds
    stored = StoredEdf(data[: start + 2 * held], tuple(kept), values, tuple(samples), ranges)
    return values, {"rate_hz": rate, "channel_names": names, "notes": notes, "extras": stored}


def _column(data: bytes, count: int, before: int, width: int) -> list[str]:
    """One field of the header, for every channel."""
    start = 256 + before * count
    return [data[start + i * width : start + (i + 1) * width].decode("latin-1").strip() for i in range(count)]


def _field(value: float, outward: int) -> str:
    """Number in 8 characters, rounded down (`outward` -1) or up (1)."""
    for digits in range(7, 0, -1):
        for nudge in (0.0, abs(value) * 10.0 ** (1 - digits)):
            text = f"{value + outward * nudge:.{digits}g}"
            if len(text) <= FIELD and (float(text) - value) * outward >= 0:
                return text
    raise UserError(f"EDF holds no value as large as {value:g}")
