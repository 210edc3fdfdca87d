"""What is refused because it would need too much, before anything is made: every bound and the way to raise it.

Torch-free. A limit is on what will be needed, in bytes or in values, not on the numbers that cause it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vqfusion.errors import UserError

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
FALLBACK = 16 * 2**30  # where the system does not tell its memory


@dataclass(frozen=True)
class Limit:
    """A bound that an environment variable raises, e.g. `VQFUSION_MAX_MEMORY=64G`.

    Args:
        variable: The environment variable.
        default: Gives the bound where the variable is not set.
        unit: What is counted: `bytes`, or a word for things.
    """

    variable: str
    default: Callable[[], int]
    unit: str = "bytes"

    @property
    def most(self) -> int:
        """The bound; UserError where the variable is no number of at least 1, with K, M, G or T behind it or not."""
        text = os.environ.get(self.variable, "").strip().upper()
        if not text:
            return self.default()
        number, factor = (text[:-1], UNITS[text[-1]]) if text[-1] in UNITS else (text, 1)
        if not number.isascii() or not number.isdecimal() or not 0 < len(number) < 16 or int(number) == 0:
            raise UserError(f"{self.variable} is {text[:40]!r}; write a number such as 64G")
        return int(number) * factor

    def require(self, needed: int, what: str) -> None:
        """UserError where `what` needs more than the bound."""
        most = self.most
        if needed > most:
            raise UserError(
                f"{what} needs {self._words(needed)} and {self._words(most)} is the most; make it smaller, or set the "
                f"environment variable {self.variable}"
            )

    def _words(self, count: int) -> str:
        if self.unit != "bytes":
            return f"{count:,} {self.unit}" if count < 10**12 else f"over 10^12 {self.unit}"
        if count >= 2**60:
            return "over a million TiB"
        return f"{count / 2**30:.3g} GiB" if count >= 2**28 else f"{count / 2**20:.3g} MiB"


@cache
def memory_of_machine() -> int:
    """Bytes of memory that this process may use: of the machine, its container and its own limit the least."""
    found = []
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        pass  # no container, or one without a limit
    return min((one for one in found if one > 0), default=FALLBACK)


MEMORY = Limit("VQFUSION_MAX_MEMORY", memory_of_machine)
CONFIG_VALUES = Limit("VQFUSION_MAX_CONFIG_VALUES", lambda: 100_000, "values")
CONFIG_BYTES = Limit("VQFUSION_MAX_CONFIG_BYTES", lambda: 16 * 2**20)

BLOCK = 4096  # bytes that the objects of one layer need beside its weights


def network_bytes(parameters: int, blocks: int = 0) -> int:
    """Bytes of a network in float32, with the objects of its blocks."""
    return 4 * parameters + BLOCK * blocks
