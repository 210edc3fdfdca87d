"""A column of numbers in a table: how its cells are read, and how new ones are written alike."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vqfusion.errors import UserError

MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", "--", "?"}
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity)", re.IGNORECASE)
GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
COMMA = re.compile(r"[+-]?(?:(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?")
FILL = "fill the gap, e.g. with `vqfusion inpaint`"


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


def numbers_of(texts: Sequence[str], may_be_comma: bool) -> tuple[np.ndarray, bool] | None:
    """Numbers of a column, NaN where empty, and whether they have a decimal comma; None for text."""
    commas = [text for text in texts if "," in text]
    comma = bool(commas) and (may_be_comma or not all(GROUPED.fullmatch(text) for text in commas))
    comma = comma and all(COMMA.fullmatch(text) for text in commas)
    values = np.array([number(text, comma and not ("." in text and "," not in text)) for text in texts])
    said = np.array([text.lower() not in MISSING for text in texts], bool)
    if (np.isnan(values) & said).any():
        return None
    return values, comma


def has_decimal_comma(texts: Sequence[str]) -> bool:
    """Whether a column has a decimal comma for certain: "0,125" is a decimal number, "1,250" may be a thousand."""
    return any("," in text and COMMA.fullmatch(text) and not GROUPED.fullmatch(text) for text in texts)


def column_of(
    place: int,
    name: str,
    raws: list[str],
    texts: list[str],
    delimiter: str,
    may_be_comma: bool,
    keep: bool,
    where: list[str],
) -> tuple[Column | None, str | None]:
    """A column of numbers, or None and a note where it is text or empty.

    Args:
        place: Index of the column.
        name: Its name in the header.
        raws: Its cells as they stand in the file.
        texts: Their content, see `plain`.
        delimiter: Delimiter of the table.
        may_be_comma: Whether a comma may stand before the decimals.
        keep: Whether cells may be empty.
        where: File and line of each cell, for messages.

    Raises:
        UserError: A cell is empty without `keep`, or is no number among numbers.
    """
    said = [i for i, text in enumerate(texts) if text.lower() not in MISSING]
    if not said:
        if not keep and texts[0] == "":
            raise UserError(f"{where[0]}, column {name!r}: is empty; {FILL}")
        return None, f"column {name!r} is empty and stays so"
    found = numbers_of(texts, may_be_comma)
    if found is None:
        numbers = [i for i in said if not np.isnan(number(texts[i], "," in texts[i] and may_be_comma))]
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
