"""CSV, EDF and NumPy arrays <-> `Sample("series")`."""

import csv
import io
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqfusion.data.io.file import check_target, name_of, read_bytes, suffix_of
from vqfusion.data.io.volume import load_arrays
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.types import Sample

MAX_VALUES, MAX_CHANNELS = 2**26, 4096
WRITTEN = (".csv", ".npy", ".npz")
TIME_NAMES = ("time", "t", "seconds", "time_s", "timestamp", "date", "datetime")
COUNT_NAME = "sample"  # the time column of a series without a rate
UNEVEN = 0.01  # of a step
FILL = "fill the gap, e.g. with `vqfusion inpaint`"


def read_series(source: str | Path | bytes, keep: bool = False) -> Sample:
    """A series `[C, T]` float32 in the units of the file, with `rate_hz` and `channel_names`, from a path or bytes.

    CSV has a header, a column time (seconds, or dates as in ISO 8601; `sample` for a count without a rate) and one
    column for each channel. EDF is read where all channels have one rate; its annotations are left out. Arrays are
    `[T]` or `[C, T]`; a .npz may hold `data`, `rate_hz`, `channel_names`.

    Nothing is filled in: UserError names the line and column of an empty cell, a NaN, or a step in time that is not
    as long as the others. With `keep` empty cells and NaN are NaN, and so are the rows that a step of two or more
    whole steps has left out. UserError also for a file that is missing, empty, broken or cut short, and over 67
    million values.
    """
    data, name = read_bytes(source), name_of(source)
    try:
        if data.startswith((b"\x93NUMPY", b"PK\x03\x04")):
            values, more = _read_array(data, name)
        elif data.startswith(b"0" + 7 * b" "):
            values, more = _read_edf(data, name)
        else:
            values, more = _read_csv(data, name, keep)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, OSError, EOFError, zlib.error, zipfile.BadZipFile, csv.Error) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{name}: is no CSV, EDF or NumPy series, or is broken ({reason})") from None
    if values.size == 0:
        raise UserError(f"{name}: holds no values")
    if values.shape[0] > MAX_CHANNELS or values.size > MAX_VALUES:
        raise UserError(f"{name}: has {values.shape[0]} channels of {values.shape[1]} values; channels come first")
    usable = np.isfinite(values) | (np.isnan(values) & keep)
    if not usable.all():
        channel, place = (int(i) for i in np.unravel_index(usable.argmin(), values.shape))
        where = f"in channel {channel + 1} at value {place + 1}"
        raise UserError(f"{name}: holds {'' if keep else 'NaN or '}infinity {where}; {'mend it' if keep else FILL}")
    return Sample("series", torch.from_numpy(np.ascontiguousarray(values, np.float32)), **more)


def write_series(sample: Sample, path: str | Path, force: bool = False) -> None:
    """Write `[C, T]`: .csv with a time column and the names of the channels, .npz with all, .npy bare.

    The file appears whole or not at all. Raises UserError if the file exists and not `force`, for another suffix,
    NaN or no values.
    """
    path = check_target(path, WRITTEN, force)
    if sample.data.ndim != 2 or sample.data.numel() == 0:
        raise UserError(f"{path}: a series is [C, T], not {list(sample.data.shape)}")
    if not torch.isfinite(sample.data).all():
        raise UserError(f"{path}: the series holds NaN or infinity")
    values, rate = sample.data.detach().cpu().float().numpy(), sample.rate_hz
    names = sample.channel_names or tuple(f"channel_{i + 1}" for i in range(len(values)))
    if suffix_of(path) == ".csv":
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow([f"{'time_s' if rate else COUNT_NAME}", *names])
        for i, row in enumerate(values.T.tolist()):
            rows.writerow([f"{i / rate:.9g}" if rate else i, *(f"{value:.7g}" for value in row)])
        write_bytes(path, text.getvalue().encode(), force)
        return
    buffer = io.BytesIO()
    if suffix_of(path) == ".npy":
        np.save(buffer, values)
    else:
        known: dict[str, Any] = {"channel_names": np.array(names)} | ({"rate_hz": np.array(rate)} if rate else {})
        np.savez(buffer, data=values, **known)
    write_bytes(path, buffer.getvalue(), force)


def _read_csv(data: bytes, name: str, keep: bool) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is not UTF-8 (byte {error.start}); convert it to UTF-8") from None
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = [(number, row) for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1) if row]
    head = [cell.strip() for cell in rows[0][1]] if rows else []
    column = next((i for i, cell in enumerate(head) if cell.lower() in (*TIME_NAMES, COUNT_NAME)), None)
    if column is None:
        raise UserError(f"{name}: its header has no time column; call one {', '.join(TIME_NAMES)} or {COUNT_NAME}")
    if len(rows) < 3 or len(head) < 2:
        raise UserError(
            f"{name}: holds {max(0, len(rows) - 1)} rows of {len(head) - 1} channels; give two rows or more"
        )
    table = np.empty((len(rows) - 1, len(head)))
    for place, (number, row) in enumerate(rows[1:]):
        if len(row) != len(head):
            raise UserError(f"{name}: line {number} has {len(row)} cells, the header {len(head)}")
        for i, cell in enumerate(row):
            empty = keep and i != column and not cell.strip()
            where = f"{name}: line {number}, column {head[i]!r}"
            table[place, i] = np.nan if empty else _number(cell, i == column, where)
    if keep:
        table = _with_left_out_rows(table, column)
    times = table[:, column]
    steps = np.diff(times)
    step = float(np.median(steps))
    wrong = np.abs(steps - step) > UNEVEN * abs(step)
    if step <= 0 or wrong.any():
        number = rows[int(wrong.argmax()) + 2][0]
        raise UserError(
            f"{name}: line {number}: the time goes on by {steps[int(wrong.argmax())]:g}, elsewhere by {step:g}; "
            f"{FILL}, or resample"
        )
    rate = None if head[column].lower() == COUNT_NAME else (len(times) - 1) / (times[-1] - times[0])
    names = tuple(cell for i, cell in enumerate(head) if i != column)
    return np.delete(table, column, axis=1).T, {"rate_hz": rate and float(f"{rate:.9g}"), "channel_names": names}


def _with_left_out_rows(table: np.ndarray, column: int) -> np.ndarray:
    """Rows of NaN where the time goes on by a whole number of steps, two or more; else the table as it is."""
    times = table[:, column]
    step = float(np.median(np.diff(times)))
    if not step > 0:
        return table
    places = (times - times[0]) / step
    whole = np.rint(places).astype(np.int64)
    if np.abs(np.diff(places) - np.diff(whole)).max() > UNEVEN or (np.diff(whole) < 1).any() or whole[-1] >= MAX_VALUES:
        return table
    full = np.full((whole[-1] + 1, table.shape[1]), np.nan)
    full[whole] = table
    full[:, column] = times[0] + step * np.arange(len(full))
    return full


def _number(cell: str, is_time: bool, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        pass
    if not cell.strip():
        raise UserError(f"{where}: is empty; {FILL}")
    try:
        if is_time:
            when = datetime.fromisoformat(cell.strip())
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        pass
    raise UserError(f"{where}: {cell.strip()[:30]!r} is not a number")


def _read_array(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    arrays = load_arrays(data, name, 8 * MAX_VALUES)
    values = arrays["data"]
    if values.ndim not in (1, 2):
        raise UserError(f"{name}: has {values.ndim} axes; a series is [T] or [C, T]")
    more: dict[str, Any] = {}
    if "rate_hz" in arrays:
        more["rate_hz"] = float(arrays["rate_hz"])
    if "channel_names" in arrays:
        more["channel_names"] = tuple(str(word) for word in arrays["channel_names"].reshape(-1))
    return np.atleast_2d(values), more


def _read_edf(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    """European Data Format: Kemp, Värri, Rosa, Nielsen, Gade (1992); EDF+: Kemp, Olivan (2003). Who was recorded
    is not read."""
    count, records, seconds = int(data[252:256]), int(data[236:244]), float(data[244:252])
    if data[192:197] == b"EDF+D":
        raise UserError(f"{name}: is an EDF+ file with interruptions; give one without gaps")

    def column(before: int, width: int) -> list[str]:
        start = 256 + before * count
        return [data[start + i * width : start + (i + 1) * width].decode("latin-1").strip() for i in range(count)]

    labels, samples = column(0, 16), [int(cell) for cell in column(216, 8)]
    low, high, least, most = (np.array(column(at, 8), float) for at in (104, 112, 120, 128))
    kept = [i for i, label in enumerate(labels) if label != "EDF Annotations"]
    per_record = {samples[i] for i in kept}
    if len(per_record) != 1:
        rates = ", ".join(f"{samples[i] / seconds:g}" for i in kept) or "none"
        raise UserError(f"{name}: its channels have the rates {rates} Hz; give channels of one rate")
    start, width = 256 * (count + 1), sum(samples)
    whole = (len(data) - start) // (2 * width)
    if whole < max(records, 1) or seconds <= 0:
        raise UserError(f"{name}: is cut short: {whole} of {records} records")
    raw = np.frombuffer(data, "<i2", (records if records > 0 else whole) * width, start).reshape(-1, width)
    starts = np.cumsum([0, *samples])
    gain = (high - low) / np.where(most > least, most - least, 1)
    values = [(raw[:, starts[i] : starts[i + 1]].reshape(-1) - least[i]) * gain[i] + low[i] for i in kept]
    rate = per_record.pop() / seconds
    return np.stack(values), {"rate_hz": float(rate), "channel_names": tuple(labels[i] for i in kept)}
