"""Limits on memory and size, checked before anything is allocated, and how to raise them.

Torch-free. A limit is on what will be needed, in bytes or values, not on the numbers that cause it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vqfusion.errors import TooLarge, UserError

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
FALLBACK = 16 * 2**30  # where the memory of the system is unknown


@dataclass(frozen=True)
class Limit:
    """A limit that an environment variable raises, such as `VQFUSION_MAX_MEMORY=64G`.

    Args:
        variable: The environment variable.
        default: Function that returns the limit where the variable is not set.
        unit: What is counted: `bytes`, or a plural noun.
    """

    variable: str
    default: Callable[[], int]
    unit: str = "bytes"

    @property
    def most(self) -> int:
        """The limit; UserError where the variable is not a positive integer, optionally with K, M, G or T."""
        text = os.environ.get(self.variable, "").strip().upper()
        if not text:
            return self.default()
        number, factor = (text[:-1], UNITS[text[-1]]) if text[-1] in UNITS else (text, 1)
        if not number.isascii() or not number.isdecimal() or not 0 < len(number) < 16 or int(number) == 0:
            raise UserError(f"{self.variable} is {text[:40]!r}; write a number such as 64G")
        return int(number) * factor

    def require(self, needed: int, what: str) -> None:
        """Raise UserError where `what` needs more than the limit."""
        most = self.most
        if needed > most:
            raise TooLarge(
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
    """Bytes of memory that this process may use: the smallest of machine, container and process limit."""
    found = []
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    try:
        import resource

        found.append(resource.getrlimit(resource.RLIMIT_AS)[0])  # -1 where there is none
    except ImportError:
        pass  # not a POSIX system
    try:
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        pass  # not in a container, or no limit set
    return min((one for one in found if one > 0), default=FALLBACK)


MEMORY = Limit("VQFUSION_MAX_MEMORY", memory_of_machine)
CONFIG_VALUES = Limit("VQFUSION_MAX_CONFIG_VALUES", lambda: 100_000, "values")
CONFIG_BYTES = Limit("VQFUSION_MAX_CONFIG_BYTES", lambda: 16 * 2**20)
SAMPLES = Limit("VQFUSION_MAX_SAMPLES", lambda: 10_000, "results")
STEPS = Limit("VQFUSION_MAX_STEPS", lambda: 10_000, "steps")
CODES = Limit("VQFUSION_MAX_CODES", lambda: 2**21, "codes")  # a picture of 134 million pixels at one for 8 x 8
MODEL = Limit("VQFUSION_MAX_MODEL_BYTES", lambda: 8 * 2**30)  # files of one model that is fetched or unpacked

BLOCK = 4096  # bytes of Python objects per layer, beside its weights


def network_bytes(parameters: int, blocks: int = 0) -> int:
    """Bytes of a float32 network, including the Python objects of its blocks."""
    return 4 * parameters + BLOCK * blocks
