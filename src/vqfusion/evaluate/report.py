"""Evaluation reports: rows of results with target, baselines and ceiling."""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from vqfusion.files import write_bytes
from vqfusion.types import UserError


@dataclass(frozen=True)
class Row:
    """One measured number with everything needed to judge it.

    `value`, `low`, `high`, `target`, `baselines` and `ceiling` share the `unit` ("%", "dB", "" ...).

    Attributes:
        group: Name for `--only`.
        what: What was measured.
        metric: Name of the metric.
        value: The result.
        unit: Unit of all numbers.
        n: Number of items.
        low: Lower end of the 95 % interval.
        high: Upper end of the 95 % interval.
        sense: Side of the target on which the value must lie, ">=" or "<=".
        target: Value to reach, if any.
        baselines: Results of simple methods by name.
        ceiling: Result of encoding and decoding the true answer, where results are made of tokens.
        seconds: Time of the whole group, in its first row.
        note: What the numbers do not say.
    """

    group: str
    what: str
    metric: str
    value: float
    unit: str = ""
    n: int = 0
    low: float | None = None
    high: float | None = None
    sense: str = ">="
    target: float | None = None
    baselines: dict[str, float] = field(default_factory=dict)
    ceiling: float | None = None
    seconds: float = 0.0
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value is on the right side of the target; None where there is no target."""
        if self.target is None:
            return None
        return self.value >= self.target if self.sense == ">=" else self.value <= self.target


@dataclass(frozen=True)
class Report:
    """All rows of one evaluation.

    Attributes:
        model: Name of the model.
        split: Split of the data.
        seed: Random seed.
        rows: The rows.
        skipped: Groups that were not measured, with the reason.
        seconds: Total time.
        machine: Device, cores and versions.
        data: Name of the data set.
    """

    model: str
    split: str
    seed: int
    rows: tuple[Row, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    machine: str = ""
    data: str = ""

    @property
    def judged_on(self) -> str:
        """Model, data and split, for titles."""
        return f"{self.model}{f' on {self.data}' if self.data else ''}, split {self.split}"

    def to_json(self, path: str | Path | None = None) -> str:
        """Report as JSON, with `met` for each row; also written to `path` where given."""
        content = asdict(self)
        content["rows"] = [{**asdict(row), "met": row.met} for row in self.rows]
        text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        if path is not None:
            write_bytes(path, text.encode())
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> "Report":
        """Read a report from JSON text or a file; UserError where it is not one."""
        try:
            if not (isinstance(source, str) and source.lstrip().startswith("{")):
                source = Path(source).read_text(encoding="utf-8")
            content = json.loads(source)
            names = {f.name for f in fields(Row)}
            rows = []
            for row in content.pop("rows"):
                row["value"] = math.nan if row["value"] is None else row["value"]
                rows.append(Row(**{name: value for name, value in row.items() if name in names}))
            return cls(rows=tuple(rows), **content)
        except (OSError, TypeError, KeyError, json.JSONDecodeError) as error:
            raise UserError(f"not a report: {error}; `vqfusion eval` writes one") from None

    def cells(self) -> list[list[str]]:
        """Table as text: the header, then one line for each row."""
        lines = [["result", "value (95 % interval)", "n", "target", "baselines", "ceiling", "s"]]
        for row in self.rows:
            value = f"{_n(row.value)} {row.unit}".strip()
            if row.low is not None and row.high is not None:
                value += f" ({_n(row.low)} to {_n(row.high)})"
            target = ""
            if row.target is not None:
                target = f"{row.sense} {_n(row.target)}: {'met' if row.met else 'missed'}"
            baselines = ", ".join(f"{name} {_n(number)}" for name, number in row.baselines.items())
            seconds = f"{row.seconds:.0f}" if row.seconds else ""
            name = f"{row.what}: {row.metric}"
            lines.append([name, value, str(row.n), target, baselines, _n(row.ceiling), seconds])
        return lines

    def to_rich(self) -> Any:
        """Table for a terminal (a `rich.table.Table`)."""
        from rich.table import Table

        head, *lines = self.cells()
        table = Table(title=f"{self.judged_on}, seed {self.seed}")
        for name in head:
            table.add_column(name, justify="right" if name in ("n", "ceiling", "s") else "left")
        for line, row in zip(lines, self.rows, strict=True):
            table.add_row(*line, style={True: "green", False: "red", None: ""}[row.met])
        return table

    def to_markdown(self) -> str:
        """Table in Markdown, followed by the notes and the groups that were skipped."""
        head, *lines = self.cells()
        text = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        text += ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
        notes = [f"- {row.what}, {row.metric}: {row.note}" for row in self.rows if row.note]
        notes += [f"- {group}: not measured ({why})" for group, why in self.skipped.items()]
        footer = f"Model {self.judged_on}, seed {self.seed}, {self.seconds:.0f} s"
        notes.append(f"- {footer} on {self.machine}." if self.machine else f"- {footer}.")
        return "\n".join(text) + "\n\n" + "\n".join(notes) + "\n"


def _n(value: float | None) -> str:
    """Number with three to four digits."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    return f"{value:.0f}" if size >= 1000 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
