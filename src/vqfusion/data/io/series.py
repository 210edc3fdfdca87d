"""CSV, EDF and NumPy arrays <-> `Sample("series")`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqfusion.data.io.arrays import StoredArray, load_arrays, saved_array, saved_arrays
from vqfusion.data.io.column import FILL
from vqfusion.data.io.edf import StoredEdf, read_edf
from vqfusion.data.io.file import check_target, holds_none_of, name_of, read_bytes, suffix_of
from vqfusion.data.io.stand_in import stand_ins
from vqfusion.data.io.stored import Stored
from vqfusion.data.io.table import Table, new_table, read_table
from vqfusion.data.io.times import COUNT_NAME
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

MAX_VALUES, MAX_CHANNELS = 2**26, 4096
OTHERWISE = "save a picture as .png or .tif, a plane of numbers as [1, H, W], times along the last axis"


def read_series(source: str | Path | bytes, keep: bool = False) -> Sample:
    """Read a series `[C, T]` in the units of the file, with `rate_hz` and `channel_names`.

    Values are float32 where that holds them exactly, else float64; `extras` hold the original file. A CSV has a header,
    a time column (seconds, counts since 1970, dates; `sample` for a count without a rate) and one column for each
    channel; columns of text are kept. An EDF is read where all channels have one rate. Arrays are `[T]` or `[C, T]`; a
    .npz may hold `data`, `rate_hz`, `channel_names`. Nothing is filled in: `notes` say where time is uneven, which rows
    were added, what was left out, and what an array of two axes that says nothing of itself was taken as.

    Args:
        source: Path, `"-"` or bytes.
        keep: Read empty cells, NaN and rows that an even time axis lacks as NaN; otherwise they are errors.

    Returns:
        The sample.

    Raises:
        UserError: An empty cell or NaN (with line and column) or missing rows without `keep`; a file that is missing,
            empty, damaged or truncated; infinite values; more than 67 million values.
    """
    data, name = read_bytes(source), name_of(source)
    more: dict[str, Any]
    if data.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        values, more = _read_array(data, name)
    elif data.startswith(b"0" + 7 * b" "):
        values, more = read_edf(data, name)
    else:
        table, rate, notes = read_table(data, name, keep)
        values = table.values
        names = tuple(column.name for column in table.columns)
        more = {"rate_hz": rate, "channel_names": names, "extras": table, "notes": notes}
    if values.size == 0:
        raise UserError(f"{name}: holds no values")
    if values.shape[0] > MAX_CHANNELS or values.size > MAX_VALUES:
        raise UserError(f"{name}: has {values.shape[0]} channels of {values.shape[1]} values; channels come first")
    usable = np.isfinite(values) | (np.isnan(values) & keep)
    if not usable.all():
        channel, place = (int(i) for i in np.unravel_index(usable.argmin(), values.shape))
        where = f"in channel {channel + 1} at value {place + 1}"
        raise UserError(f"{name}: holds {'' if keep else 'NaN or '}infinity {where}; {'mend it' if keep else FILL}")
    more["notes"] = (*more.get("notes", ()), *stand_ins(values, more.get("channel_names")))
    return Sample("series", torch.from_numpy(np.ascontiguousarray(values)), **more)


def write_series(sample: Sample, path: str | Path, force: bool = False) -> tuple[str, ...]:
    """Write a series `[C, T]`: .csv with a time column and channel names, .npz with all metadata, .npy values only.

    A series from a CSV, an EDF or an array is written to the same format unchanged except for changed values; .edf is
    written from an EDF only. The file is written atomically.

    Args:
        sample: The sample.
        path: File to write.
        force: Overwrite an existing file.

    Returns:
        One line for what the format cannot hold.

    Raises:
        UserError: The file exists and `force` is not set, another suffix, infinity, NaN where the original had none, or
            no values.
    """
    row, known = MODALITIES["series"], sample.extras
    path = check_target(path, row.written + (row.only_back if isinstance(known, StoredEdf) else ()), force)
    if sample.data.ndim != 2 or sample.data.numel() == 0:
        raise UserError(f"{path}: a series is [C, T], not {list(sample.data.shape)}")
    values = sample.data.detach().cpu().numpy()
    table = known if isinstance(known, Table) and known.values.shape == values.shape else None
    array = known if isinstance(known, StoredArray) else None
    empty = np.isnan(values).all(axis=1, keepdims=True) if table or array else np.zeros((len(values), 1), bool)
    if not (np.isfinite(values) | empty).all():
        raise UserError(f"{path}: the series holds NaN or infinity")
    if isinstance(known, StoredEdf):
        return _write_from_edf(replace(sample, extras=None), path, force, known)
    names = sample.channel_names or tuple(f"channel_{i + 1}" for i in range(len(values)))
    if suffix_of(path) == ".csv":
        if table:
            write_bytes(path, table.to_bytes(values.astype(np.float64)), force)
            return ()
        rate, places = sample.rate_hz, range(values.shape[1])
        times = [f"{i / rate:.12g}" if rate else str(i) for i in places]
        write_bytes(path, new_table(times, "time_s" if rate else COUNT_NAME, names, values), force)
        return _gone(sample, ".csv")
    if isinstance(known, Stored):
        values = known.stored(values)
    if array and array.shape == values.shape[1:]:
        values = values[0]
    if suffix_of(path) == ".npy":
        write_bytes(path, saved_array(values), force)
        return _gone(sample, ".npy")
    others: dict[str, np.ndarray] = {"channel_names": np.array(names)}
    others |= {"rate_hz": np.array(sample.rate_hz)} if sample.rate_hz else {}
    others |= {"time": table.stamps()} if table else {}
    if array and array.is_archive:
        others = array.others
    write_bytes(path, saved_arrays({array.key if array else "data": values} | others), force)
    return _gone(sample, ".npz")


def _gone(sample: Sample, suffix: str) -> tuple[str, ...]:
    """A line about what the original file held and one with this suffix does not."""
    known, gone = sample.extras, []
    if suffix == ".npy":
        gone += ["rate"] if sample.rate_hz else []
        gone += ["channel names"] if sample.channel_names else []
    if isinstance(known, Table):
        gone += ["time stamps"] if suffix == ".npy" else []
        gone += ["columns of text"] if len(known.lines[known.rows[0]][0]) > len(known.columns) + 1 else []
    if isinstance(known, StoredArray) and suffix != ".npz":
        gone += [f"array {name}" for name in known.others]
    return holds_none_of(gone, ".csv" if isinstance(known, Table) else ".npz")


def _write_from_edf(sample: Sample, path: Path, force: bool, known: StoredEdf) -> tuple[str, ...]:
    """Write what was read from an EDF; in another format a line tells what that does not hold."""
    if suffix_of(path) in MODALITIES["series"].only_back:
        write_bytes(path, known.to_bytes(sample.data.detach().cpu().double().numpy()), force)
        return ()
    units = ", ".join(dict.fromkeys(filter(None, known.units)))
    lost = [f"start ({known.start})", *([f"units ({units})"] if units else []), "header"]
    return (*write_series(sample, path, force), f"this format holds no {', '.join(lost)} of an EDF; .edf does")


def _read_array(data: bytes, name: str) -> tuple[np.ndarray, dict[str, Any]]:
    key, arrays = load_arrays(data, name, 8 * MAX_VALUES)
    raw = arrays.pop(key)
    if raw.ndim not in (1, 2):
        raise UserError(f"{name}: has {raw.ndim} axes; a series is [T] or [C, T]")
    more: dict[str, Any] = {}
    try:
        if "rate_hz" in arrays:
            more["rate_hz"] = float(arrays["rate_hz"])
            if not 0 < more["rate_hz"] < float("inf"):
                raise UserError(f"{name}: its rate_hz is {more['rate_hz']:g}; give one above 0")
        if "channel_names" in arrays:
            more["channel_names"] = tuple(str(word) for word in arrays["channel_names"].reshape(-1))
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: its rate_hz is no number ({error})") from None
    if len(more.get("channel_names", ())) not in (0, len(np.atleast_2d(raw))):
        raise UserError(f"{name}: has {len(more['channel_names'])} names for {len(np.atleast_2d(raw))} channels")
    if raw.ndim == 2 and not more:
        many = f"{raw.shape[0]} channels of {raw.shape[1]} values"
        more["notes"] = (f"an array of two axes, taken as a series of {many}; {OTHERWISE}",)
    stored = StoredArray(np.atleast_2d(raw), shape=raw.shape, key=key, others=arrays, is_archive=data.startswith(b"PK"))
    return stored.values(), more | {"extras": stored}
