"""Tables as text (CSV and similar), kept so that only changed cells are rewritten."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vqfusion.data.io.column import FILL, Column, column_of, has_decimal_comma, number, numbers_of, plain
from vqfusion.data.io.delimited import decoded, find_delimiter, is_aside, line_numbers, split_lines
from vqfusion.data.io.times import COUNT_NAME, NAMES, Stamps, is_time_name
from vqfusion.errors import UserError


@dataclass(frozen=True)
class Table:
    """Text of a table.

    `lines` are the original cells with their line ends, `rows` the indices of lines with values. `values` `[C, rows]`
    are the values, NaN in empty cells; rows that were missing on the time axis are in `lines` with empty cells.
    """

    lines: list[tuple[list[str], str]]
    rows: list[int]
    columns: tuple[Column, ...]
    time: int
    delimiter: str
    encoding: str
    bom: bytes
    numeric_time: bool

    @property
    def values(self) -> np.ndarray:
        """Values `[C, rows]` of the columns."""
        return np.stack([column.values for column in self.columns])

    def to_bytes(self, values: np.ndarray) -> bytes:
        """Bytes of the table with these values `[C, rows]`; cells with unchanged values keep their text."""
        lines = dict(enumerate(self.lines))
        for column, new in zip(self.columns, values, strict=True):
            for i in np.flatnonzero(~((new == column.values) | (np.isnan(new) & np.isnan(column.values)))):
                cells, end = lines[self.rows[i]]
                cells = list(cells)
                cells[column.place] = column.text(float(new[i]))
                lines[self.rows[i]] = cells, end
        text = "".join(self.delimiter.join(cells) + end for cells, end in lines.values())
        return self.bom + text.encode(self.encoding)

    def real(self) -> "Table":
        """The same for values other than those of the columns, such as widths of intervals: with six digits."""
        return replace(self, columns=tuple(replace(column, digits=6, grouped=False) for column in self.columns))

    def stamps(self) -> np.ndarray:
        """Times of the rows, as numbers where all are numbers."""
        texts = [plain(self.lines[row][0][self.time]) for row in self.rows]
        return np.array([number(text) for text in texts]) if self.numeric_time else np.array(texts)


def read_table(data: bytes, name: str, keep: bool) -> tuple[Table, float | None, tuple[str, ...]]:
    """Table in the bytes of a file, the rate of its rows in Hz, and notes on what was added or left unchanged.

    Cells are separated by commas, semicolons, tabs or bars; decimals by a point or a comma. Columns of text are kept.
    Without `keep`, UserError names line and column of an empty cell; with it, rows that an even time axis implies are
    added.
    """
    text, encoding, bom = decoded(data, name)
    delimiter = find_delimiter(text)
    lines = split_lines(text, delimiter)
    full = [i for i, (cells, _) in enumerate(lines) if not is_aside(cells, i)]
    head = [plain(cell) for cell in lines[full[0]][0]] if full else []
    rows, names = full[1:], [cell or f"column {i + 1}" for i, cell in enumerate(head)]
    if not full:
        raise UserError(f"{name}: holds 0 rows of 0 channels; give two rows or more")
    where = {row: f"{name}: line {number}" for row, number in zip(rows, line_numbers(lines, rows), strict=True)}
    for row in rows:
        if len(lines[row][0]) != len(head):
            raise UserError(f"{where[row]} has {len(lines[row][0])} cells, the header {len(head)}")
    texts = [[plain(lines[row][0][i]) for row in rows] for i in range(len(head))]
    time = _time_column(head, texts, name)
    if len(rows) < 2 or len(head) < 2:
        raise UserError(f"{name}: holds {len(rows)} rows of {len(head) - 1} channels; give two rows or more")
    at = [f"{where[row]}, column {names[time]!r}" for row in rows]
    may_be_comma = delimiter != "," or any(map(has_decimal_comma, texts))
    clock = numbers_of(texts[time], may_be_comma)
    stamps = Stamps.of(texts[time], head[time], None if clock is None else clock[0], at)
    is_count = head[time].lower() in (COUNT_NAME, "")
    axis = stamps.axis(is_count, [where[row] for row in rows])
    if axis.between and not keep:
        row = rows[min(axis.between)]
        steps = np.diff(stamps.seconds) / stamps.unit
        raise UserError(
            f"{where[row]}: the time goes on by {steps[min(axis.between) - 1]:g}, elsewhere by {np.median(steps):g}; "
            f"{FILL}, or resample"
        )
    if axis.between:
        lines, rows, texts = _with_rows(lines, rows, texts, axis.between, time)
    columns, notes = [], [axis.note] if axis.note else []
    for i in range(len(head)):
        if i == time:
            continue
        raws = [lines[row][0][i] for row in rows]
        may_be_empty = keep or not (head[i] or any(texts[i]))  # spreadsheets write columns of nothing
        column, note = column_of(
            i, names[i], raws, texts[i], delimiter, may_be_comma, may_be_empty, [where.get(row, name) for row in rows]
        )
        columns += [column] if column else []
        notes += [note] if note else []
    if not columns:
        raise UserError(f"{name}: holds {len(rows)} rows of 0 channels; give a column of numbers")
    return (
        Table(lines, rows, tuple(columns), time, delimiter, encoding, bom, clock is not None),
        axis.rate_hz,
        tuple(notes),
    )


def new_table(times: Sequence[str], header: str, names: Sequence[str], values: np.ndarray) -> bytes:
    """Table of a series that did not come from a table, with enough digits to restore its values."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([header, *names])
    for time, row in zip(times, values.T, strict=True):
        rows.writerow([time, *("" if np.isnan(value) else str(value).removesuffix(".0") for value in row)])
    return text.getvalue().encode()


def _time_column(head: list[str], texts: list[list[str]], name: str) -> int:
    named = [i for i, cell in enumerate(head) if is_time_name(cell, first=i == 0)]
    exact = [i for i in named if cell_is_exact(head[i])]
    if named:
        return (exact or named)[0]
    if head and (not head[0] or numbers_of(texts[0], False) is None) and _are_times(texts[0]):
        return 0  # dates under another name, or the nameless index of a data frame
    raise UserError(f"{name}: its header has no time column; call one {', '.join(NAMES)} or {COUNT_NAME}")


def cell_is_exact(cell: str) -> bool:
    """Whether a header equals one of the usual names."""
    return cell.lower() in (*NAMES, COUNT_NAME)


def _are_times(texts: list[str]) -> bool:
    try:
        clock = numbers_of(texts, True)
        Stamps.of(texts, "", None if clock is None else clock[0], texts)
    except UserError:
        return False
    return bool(texts)


def _with_rows(
    lines: list[tuple[list[str], str]],
    rows: list[int],
    texts: list[list[str]],
    between: dict[int, list[str]],
    time: int,
) -> tuple[list[tuple[list[str], str]], list[int], list[list[str]]]:
    """Lines with rows of empty cells inserted at the missing times."""
    before = {rows[i]: stamps for i, stamps in between.items()}
    all_lines: list[tuple[list[str], str]] = []
    wanted, all_rows = set(rows), []
    width, end = len(lines[rows[0]][0]), lines[rows[0]][1]
    for i, line in enumerate(lines):
        for stamp in before.get(i, ()):
            like = lines[i][0][time]
            cells = [""] * width
            cells[time] = like.replace(plain(like), stamp)
            all_rows.append(len(all_lines))
            all_lines.append((cells, end))
        if i in wanted:
            all_rows.append(len(all_lines))
        all_lines.append(line)
    made = [[plain(all_lines[row][0][i]) for row in all_rows] for i in range(len(texts))]
    return all_lines, all_rows, made
