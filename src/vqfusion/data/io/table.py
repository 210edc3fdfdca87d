"""Tables as text (CSV and similar), kept so that only changed cells are rewritten."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vqfusion.data.io.times import COUNT_NAME, NAMES, Stamps, is_time_name
from vqfusion.errors import UserError

DELIMITERS = (",", ";", "\t", "|")
MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?"}
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity)", re.IGNORECASE)
GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
COMMA = re.compile(r"[+-]?(?:(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?")
SCANNED = 20  # lines from which the delimiter is found
FILL = "fill the gap, e.g. with `vqfusion inpaint`"
BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@dataclass(frozen=True)
class Column:
    """Format of the numbers of a column: decimals, significant digits with exponents, separators, quotes."""

    place: int
    name: str
    values: np.ndarray
    decimals: int
    digits: int
    comma: bool
    grouped: bool
    quote: str
    lead: str

    def text(self, value: float) -> str:
        """New cell with as many decimals as the column has."""
        made = f"{value:.{self.digits}g}" if self.digits else f"{value:{',' * self.grouped}.{self.decimals}f}"
        if not made.strip("-0.,"):
            made = made.lstrip("-")
        if self.comma:
            made = made.translate(str.maketrans(",.", ".,"))
        return f"{self.lead}{self.quote}{made}{self.quote}"


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
    text, encoding, bom = _decoded(data, name)
    delimiter = _delimiter(text)
    lines = _split(text, delimiter)
    full = [i for i, (cells, _) in enumerate(lines) if not _is_aside(cells, i)]
    head = [plain(cell) for cell in lines[full[0]][0]] if full else []
    rows, names = full[1:], [cell or f"column {i + 1}" for i, cell in enumerate(head)]
    if not full:
        raise UserError(f"{name}: holds 0 rows of 0 channels; give two rows or more")
    where = {row: f"{name}: line {number}" for row, number in zip(rows, _line_numbers(lines, rows), strict=True)}
    for row in rows:
        if len(lines[row][0]) != len(head):
            raise UserError(f"{where[row]} has {len(lines[row][0])} cells, the header {len(head)}")
    texts = [[plain(lines[row][0][i]) for row in rows] for i in range(len(head))]
    time = _time_column(head, texts, name)
    if len(rows) < 2 or len(head) < 2:
        raise UserError(f"{name}: holds {len(rows)} rows of {len(head) - 1} channels; give two rows or more")
    at = [f"{where[row]}, column {names[time]!r}" for row in rows]
    clock = _numbers(texts[time], delimiter != ",")
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
        column, note = _column(i, names[i], raws, texts[i], delimiter, keep, [where.get(row, name) for row in rows])
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


def plain(cell: str) -> str:
    """Content of a cell without quotes and surrounding spaces."""
    cell = cell.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        cell = cell[1:-1].replace('""', '"').strip()
    return cell


def number(text: str, comma: bool = False) -> float:
    """Number in a cell, with a decimal comma or point; NaN where there is none."""
    if comma:
        return float(text.replace(".", "").replace(",", ".")) if COMMA.fullmatch(text) else float("nan")
    if NUMBER.fullmatch(text):
        return float(text)
    return float(text.replace(",", "")) if GROUPED.fullmatch(text) else float("nan")


def _decoded(data: bytes, name: str) -> tuple[str, str, bytes]:
    bom, encoding = next((pair for pair in BOMS if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        text = data[len(bom) :].decode(encoding)
    except UnicodeDecodeError as error:
        if bom:
            raise UserError(f"{name}: is not {encoding} (byte {error.start}); convert it to UTF-8") from None
        encoding = "latin-1"  # one character per byte, so that the text is written back unchanged
        text = data.decode(encoding)
    if "\0" in text:
        raise UserError(f"{name}: is no text, though it is named like a table")
    return text, encoding, bom


def _delimiter(text: str) -> str:
    """Delimiter that divides the first lines into equally many cells, the more the better."""
    lines = [line for line in text[: 2**16].splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and (found := re.fullmatch(r"sep=(.)", lines[0].strip())):
        return found[1]
    head = "\n".join(lines[:SCANNED])
    counts = {}
    for delimiter in DELIMITERS:
        widths = {len(cells) for cells, _ in _split(head, delimiter)}
        if len(widths) == 1 and max(widths) > 1:
            counts[delimiter] = max(widths)
    first = lines[0] if lines else ""
    return max(counts, key=lambda one: counts[one]) if counts else max(DELIMITERS, key=first.count)


def _split(text: str, delimiter: str) -> list[tuple[list[str], str]]:
    """Lines as cells with their quotes and spaces, and the end of each line."""
    mark = re.escape(delimiter)
    pattern = re.compile(rf'( *"(?:[^"]|"")*"[^{mark}\r\n]*|[^{mark}\r\n]*)({mark}|\r\n|\n|\r|\Z)')
    lines: list[tuple[list[str], str]] = []
    cells: list[str] = []
    for found in pattern.finditer(text):
        cells.append(found[1])
        if found[2] != delimiter:
            lines.append((cells, found[2]))
            cells = []
            if found.end() == len(text):
                break
    return lines


def _is_aside(cells: list[str], line: int) -> bool:
    """Whether a line is not a row: empty, a comment, or the delimiter line of a spreadsheet."""
    first = cells[0].strip()
    return (len(cells) == 1 and not first) or first.startswith("#") or (line == 0 and first.startswith("sep="))


def _line_numbers(lines: list[tuple[list[str], str]], rows: list[int]) -> list[int]:
    """Line number in the file at which each row starts; quoted cells may contain line ends."""
    number, numbers = 1, []
    for cells, end in lines:
        numbers.append(number)
        number += bool(end) + sum(cell.count("\n") for cell in cells)
    return [numbers[row] for row in rows]


def _time_column(head: list[str], texts: list[list[str]], name: str) -> int:
    named = [i for i, cell in enumerate(head) if is_time_name(cell, first=i == 0)]
    exact = [i for i in named if cell_is_exact(head[i])]
    if named:
        return (exact or named)[0]
    if head and (not head[0] or _numbers(texts[0], False) is None) and _are_times(texts[0]):
        return 0  # dates under another name, or the nameless index of a data frame
    raise UserError(f"{name}: its header has no time column; call one {', '.join(NAMES)} or {COUNT_NAME}")


def cell_is_exact(cell: str) -> bool:
    """Whether a header equals one of the usual names."""
    return cell.lower() in (*NAMES, COUNT_NAME)


def _are_times(texts: list[str]) -> bool:
    try:
        clock = _numbers(texts, True)
        Stamps.of(texts, "", None if clock is None else clock[0], texts)
    except UserError:
        return False
    return bool(texts)


def _numbers(texts: Sequence[str], may_be_comma: bool) -> tuple[np.ndarray, bool] | None:
    """Numbers of a column, NaN where empty, and whether they have a decimal comma; None for text."""
    commas = [text for text in texts if "," in text]
    comma = bool(commas) and (may_be_comma or not all(GROUPED.fullmatch(text) for text in commas))
    comma = comma and all(COMMA.fullmatch(text) for text in commas)
    values = np.array([number(text, comma and not ("." in text and "," not in text)) for text in texts])
    said = np.array([text.lower() not in MISSING for text in texts], bool)
    if (np.isnan(values) & said).any():
        return None
    return values, comma


def _column(
    place: int, name: str, raws: list[str], texts: list[str], delimiter: str, keep: bool, where: list[str]
) -> tuple[Column | None, str | None]:
    """A column of numbers, or None and a note where it is text or empty."""
    said = [i for i, text in enumerate(texts) if text.lower() not in MISSING]
    if not said:
        if not keep and texts[0] == "":
            raise UserError(f"{where[0]}, column {name!r}: is empty; {FILL}")
        return None, f"column {name!r} is empty and stays so"
    found = _numbers(texts, delimiter != ",")
    if found is None:
        numbers = [i for i in said if not np.isnan(number(texts[i], "," in texts[i] and delimiter != ","))]
        if 2 * len(numbers) < len(said):
            return None, f"column {name!r} holds text and stays as it is"
        wrong = next(i for i in said if i not in set(numbers))
        raise UserError(f"{where[wrong]}, column {name!r}: {texts[wrong][:30]!r} is not a number")
    values, comma = found
    empty = next((i for i, text in enumerate(texts) if not text), None)
    if empty is not None and not keep:
        raise UserError(f"{where[empty]}, column {name!r}: is empty; {FILL}")
    first = raws[said[0]]
    mark = "," if comma else "."
    parts = [re.split("[eE]", texts[i]) for i in said]
    exponents = any(len(part) > 1 for part in parts)
    digits = max(len(re.sub(r"[^\d]", "", part[0]).lstrip("0")) for part in parts) if exponents else 0
    decimals = max(len(part[0].partition(mark)[2]) for part in parts)
    grouped = any(("." if comma else ",") in part[0] for part in parts)
    quote = '"' if '"' in first or (comma and delimiter == ",") else ""
    lead = first[: len(first) - len(first.lstrip(" "))]
    return Column(place, name, values, decimals, max(digits, 1) * exponents, comma, grouped, quote, lead), None


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
