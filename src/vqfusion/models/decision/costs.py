"""Costs of actions by truth, and the action of least expected cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.data.io.delimited import read_rows
from vqfusion.errors import UserError


@dataclass(frozen=True)
class Costs:
    """Cost of each action for each truth.

    Attributes:
        actions: Names of the actions.
        names: Names of the truths.
        table: Cost `[actions, names]`, in any one unit.
    """

    actions: tuple[str, ...]
    names: tuple[str, ...]
    table: Float[Tensor, "A K"]

    @classmethod
    def of_errors(cls, names: Sequence[str]) -> "Costs":
        """Cost 1 of answering a wrong name, 0 of the right one: the action is the most probable name."""
        return cls(tuple(names), tuple(names), 1 - torch.eye(len(names), dtype=torch.float64))

    @classmethod
    def read(cls, path: str | Path, names: Sequence[str]) -> "Costs":
        """Read a CSV: a header `action,NAME,NAME,...`, then a row for each action.

        Args:
            path: The file.
            names: Names of the truths; all must have a column.

        Returns:
            The costs.

        Raises:
            UserError: The file cannot be read, a name has no column, or a cost is no number.
        """
        header, rows = read_rows(path, "a header `action,NAME,...` and a row for each action")
        missing = [name for name in names if name not in header[1:]]
        if missing:
            raise UserError(f"{path}: no column for {', '.join(missing[:5])}; every name that can be true needs one")
        unknown = [name for name in header[1:] if name not in names]
        if unknown:
            raise UserError(f"{path}: {unknown[0]!r} is not a name of this label; they are {', '.join(names[:12])}")
        table, actions = [], []
        for line, row in rows:
            actions.append(row[0])
            table.append([_cost(row[header.index(name)], path, line) for name in names])
        if len(set(actions)) < len(actions):
            raise UserError(f"{path}: an action has two rows; give each once")
        return cls(tuple(actions), tuple(names), torch.tensor(table, dtype=torch.float64))

    def expected(self, p: Float[Tensor, "... K"]) -> Float[Tensor, "... A"]:
        """Expected cost of each action under probabilities of the truths."""
        return p.double() @ self.table.T

    def best(self, p: Float[Tensor, " K"]) -> tuple[str, float]:
        """The action of least expected cost, and that cost; the first of equals."""
        expected = self.expected(p)
        at = int(expected.argmin())
        return self.actions[at], float(expected[at])


def _cost(cell: str, path: str | Path, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{path}, line {line}: the cost {cell!r} is not a number")
    return value
