"""Text of a table as lines of cells: encoding, delimiter, line ends, comments."""

import csv
import io
import re
from pathlib import Path

from vqfusion.errors import UserError

DELIMITERS = (",", ";", "\t", "|")
SCANNED = 20  # lines from which the delimiter is found
BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


def decoded(data: bytes, name: str) -> tuple[str, str, bytes]:
    """Text of a file, its encoding and byte order mark; UserError where it is no text."""
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


def find_delimiter(text: str) -> str:
    """Delimiter that divides the first lines into equally many cells, the more the better."""
    lines = [line for line in text[: 2**16].splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and (found := re.fullmatch(r"sep=(.)", lines[0].strip())):
        return found[1]
    head = "\n".join(lines[:SCANNED])
    counts = {}
    for delimiter in DELIMITERS:
        widths = {len(cells) for cells, _ in split_lines(head, delimiter)}
        if len(widths) == 1 and max(widths) > 1:
            counts[delimiter] = max(widths)
    first = lines[0] if lines else ""
    return max(counts, key=lambda one: counts[one]) if counts else max(DELIMITERS, key=first.count)


def split_lines(text: str, delimiter: str) -> list[tuple[list[str], str]]:
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


def is_aside(cells: list[str], line: int) -> bool:
    """Whether a line is not a row: empty, a comment, or the delimiter line of a spreadsheet."""
    first = cells[0].strip()
    return (len(cells) == 1 and not first) or first.startswith("#") or (line == 0 and first.startswith("sep="))


def line_numbers(lines: list[tuple[list[str], str]], rows: list[int]) -> list[int]:
    """Line number in the file at which each row starts; quoted cells may contain line ends."""
    number, numbers = 1, []
    for cells, end in lines:
        numbers.append(number)
        number += bool(end) + sum(cell.count("\n") for cell in cells)
    return [numbers[row] for row in rows]


def read_rows(path: str | Path, needed: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows of a table of words: cells without spaces around them, empty lines and comments left out.

    Args:
        path: The file.
        needed: What it must hold, for the message.

    Returns:
        The header, and the number of each line in the file with its cells.

    Raises:
        UserError: The file cannot be read, has no row, a column twice, or a row of another length than the header.
    """
    try:
        text = decoded(Path(path).read_bytes(), str(path))[0]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    reader, rows = (
        csv.reader(io.StringIO(text, newline=""), delimiter=find_delimiter(text)),
        list[tuple[int, list[str]]](),
    )
    line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells) and not is_aside(cells, line - 1):
            rows.append((line, [cell.strip() for cell in cells]))
        line = reader.line_num + 1
    if len(rows) < 2:
        raise UserError(f"{path}: {needed} are needed")
    (_, header), *rows = rows
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise UserError(f"{path}: two columns are called {twice[0]!r}")
    for line, cells in rows:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}")
    return header, rows
