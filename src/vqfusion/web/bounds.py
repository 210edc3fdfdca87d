"""What one request may ask for, and how many may wait."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from vqfusion.errors import TooLarge, UserError
from vqfusion.limits import UNITS
from vqfusion.modalities import MODALITIES

if TYPE_CHECKING:
    from vqfusion.types import Sample


@dataclass(frozen=True)
class Bounds:
    """Limits of a server.

    Attributes:
        bytes: Size of a request.
        pixels: Pixels of a picture, before and after.
        seconds: Seconds of a sound.
        values: Values of a volume or a series, before and after.
        characters: Characters of a text.
        inputs: Inputs of a request.
        samples: Results for each input.
        steps: Sampling steps.
        time: Seconds that a request may compute.
        upload: Seconds in which a request must have arrived.
        queue: Requests that may wait; further ones are told to come again.
        memory: Bytes of the models that are kept loaded.
    """

    bytes: int = 64 * 2**20
    pixels: int = 50 * 10**6
    seconds: int = 600
    values: int = 2**26
    characters: int = 10_000
    inputs: int = 16
    samples: int = 16
    steps: int = 200
    time: int = 300
    upload: int = 60
    queue: int = 32
    memory: int = 2 * 2**30

    @classmethod
    def parsed(cls, given: list[str]) -> "Bounds":
        """Limits from `name=number`, as in `pixels=100M`; UserError for an unknown name or number."""
        known = {field.name for field in fields(cls)}
        values = {}
        for one in given:
            name, _, number = one.partition("=")
            if name not in known:
                raise UserError(
                    f"--limit {one[:60]!r}: the limits are {', '.join(sorted(known))}, as in --limit queue=8"
                )
            text = number.strip().upper()
            digits, factor = (text[:-1], UNITS[text[-1]]) if text and text[-1] in UNITS else (text, 1)
            if not (digits.isascii() and digits.isdecimal() and 0 < len(digits) < 16 and int(digits)):
                raise UserError(f"--limit {one[:60]!r}: give a number of 1 or more, as in --limit pixels=100M")
            values[name] = int(digits) * factor
        return cls(**values)

    def check(self, sample: "Sample", factor: int = 1) -> None:
        """Raise TooLarge where a sample, or one `factor` times as large along each axis, is over a limit."""
        row = MODALITIES[sample.modality]
        if not row.rank:
            self._check("characters", len(str(sample.data)), row.noun)
        elif row.heard:
            self._check("seconds", -(-sample.data.shape[-1] // (sample.sample_rate_hz or 1)), row.noun)
        else:
            positions = sample.data[0].numel() * factor**row.rank
            if row.pictured:
                self._check("pixels", positions, row.noun)
            else:
                self._check("values", positions * len(sample.data), row.noun)

    def check_count(self, name: str, count: int) -> None:
        """Raise TooLarge where a request asks for more `inputs`, `samples` or `steps` than the limit."""
        self._check(name, count, "this")

    def _check(self, name: str, count: int, what: str) -> None:
        most = getattr(self, name)
        if count > most:
            raise TooLarge(f"{what} of {count:,} {name} is over the limit of this server, {most:,}; give less")
