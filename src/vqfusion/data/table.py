"""Tables of records: CSV, TSV, JSON lines, Parquet, and folders that Hugging Face `datasets` wrote."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vqfusion.data.io.decoding import decoding
from vqfusion.data.io.delimited import decoded, find_delimiter
from vqfusion.data.manifest import object_in
from vqfusion.data.splits import NAMES
from vqfusion.errors import UserError, needs_extra

SUFFIXES = (".csv", ".tsv", ".parquet", ".arrow")
BAD_ROWS = 0.01  # a larger share of rows with too many or too few cells means that the table is not what it seems


@dataclass(frozen=True)
class Table:
    """Rows of a table.

    Attributes:
        path: Its file.
        columns: Names of the columns.
        rows: Place of each row, such as "line 7", and its cells by column: text, numbers, None, or for pictures and
            sounds a mapping with `bytes` and `path`.
        names: Names of the classes of columns that hold their numbers.
        remarks: What was not read, in words.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[str, dict[str, Any]]] = field(repr=False)
    names: dict[str, list[str]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read a table; the suffix says how.

    Raises:
        UserError: It cannot be read, has no rows, or a package is missing.
    """
    reader = {".csv": _delimited, ".tsv": _delimited, ".jsonl": _json_lines, ".parquet": _parquet, ".arrow": _arrow}
    try:
        table = reader[path.suffix.lower()](path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    if not table.rows:
        raise UserError(f"{path}: holds no rows")
    return table


def tables_in(folder: Path) -> dict[Path, str | None]:
    """Tables of a folder, with the split that the name of each says; empty where it is no folder of tables.

    A folder is one of tables where `datasets` wrote it, where it holds Parquet, or where it holds a file such as
    train.csv and no table that is not named after a split.
    """
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    found = [
        path for path in found if not any(one.startswith((".", "cache-")) for one in path.relative_to(folder).parts)
    ]
    columnar = [path for path in found if path.suffix.lower() in (".parquet", ".arrow")]
    splits = {path: _split_in_name(path.relative_to(folder)) for path in columnar or found}
    top = all(path.parent == folder for path in splits)
    if columnar or (top and "train" in splits.values() and None not in splits.values()):
        return splits
    return {}


def _split_in_name(path: Path) -> str | None:
    """Split in the name of a file or of the folder that it lies in: `train-00000-of-00002.parquet`, `test/x.arrow`."""
    for part in (path.stem.split("-")[0].split("_")[0].split(".")[0], *reversed(path.parent.parts)):
        if part.lower() in NAMES:
            return NAMES[part.lower()]
    return None


def _delimited(path: Path) -> Table:
    text, encoding, _ = decoded(path.read_bytes(), str(path))
    delimiter = "\t" if path.suffix.lower() == ".tsv" else find_delimiter(text)
    lines = [] if '"' in text and delimiter != "\t" else _plain(text, delimiter)
    lines = lines or _quoted(path, text, delimiter)
    if not lines:
        raise UserError(f"{path}: is empty")
    (_, header), *body = lines
    header = [cell.strip() for cell in header]
    if twice := [name for name in header if header.count(name) > 1]:
        raise UserError(f"{path}: two columns are called {twice[0]!r}")
    rows = [
        (f"line {line}", dict(zip(header, cells, strict=True))) for line, cells in body if len(cells) == len(header)
    ]
    bad = [(line, cells) for line, cells in body if len(cells) != len(header)]
    if len(bad) > max(1, BAD_ROWS * len(body)) or (bad and not rows):
        line, cells = bad[0]
        raise UserError(
            f"{path}, line {line}: {len(cells)} cells where the header has {len(header)}: {', '.join(header)}"
        )
    remarks = [f"{len(bad)} rows with too many or too few cells (the first: line {bad[0][0]})"] if bad else []
    remarks += [f"{path.name} is not UTF-8; it was read as Latin-1"] if encoding == "latin-1" else []
    return Table(path, header, rows, remarks=tuple(remarks))


def _plain(text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """Lines as cells where quotes have no meaning; empty where the lines do not all have the cells of the header.

    Quotes around a whole cell are taken off.
    """
    lines = [(i, line.split(delimiter)) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    if any(len(cells) != len(lines[0][1]) for _, cells in lines):
        return []
    return [(i, [_unquoted(cell.rstrip("\r")) for cell in cells]) for i, cells in lines]


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', ""):
        return cell[1:-1].replace('""', '"')
    return cell


def _quoted(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader, lines, line = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [], 1
    csv.field_size_limit(2**27)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path}, line {line}: {error}") from None
    return lines


def _json_lines(path: Path) -> Table:
    rows: list[tuple[str, dict[str, Any]]] = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if line.strip():
            try:
                rows.append((f"line {number}", object_in(line)))
            except UserError as error:
                raise UserError(f"{path}:{number}: {error}") from None
    return Table(path, list(dict.fromkeys(name for _, row in rows for name in row)), rows)


def _parquet(path: Path) -> Table:
    _pyarrow(path)
    from pyarrow import parquet

    with path.open("rb") as file, decoding(str(path), "Parquet table"):
        return _columnar(path, parquet.read_table(file))


def _arrow(path: Path) -> Table:
    arrow = _pyarrow(path)
    from pyarrow import ipc

    with decoding(str(path), "Arrow table"), arrow.memory_map(str(path)) as source:
        try:
            return _columnar(path, ipc.open_stream(source).read_all())  # as `datasets` writes it
        except arrow.ArrowInvalid:
            source.seek(0)
            return _columnar(path, ipc.open_file(source).read_all())


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise needs_extra("pyarrow", "data", f"{path}: reading it") from None
    return pyarrow


def _columnar(path: Path, table: Any) -> Table:
    """Rows of an Arrow table; the names of classes are in the metadata that `datasets` writes."""
    columns, names = list(table.column_names), {}
    about = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    for column, feature in about.get("info", {}).get("features", {}).items():
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            names[column] = list(feature["names"])
    return Table(path, columns, [(f"row {i}", row) for i, row in enumerate(_rows(table), 1)], names)


def _rows(table: Any) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches(max_chunksize=1000):
        yield from batch.to_pylist()
