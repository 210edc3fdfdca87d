"""What restoration gives back, for tensors and for samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vqfusion.data.display import html_of_rows
from vqfusion.types import Sample

SHOWN = 4  # samples of an answer that notebooks show


@dataclass(frozen=True)
class Restored:
    """What a measurement says of the signal.

    In the form of what was given: of a batch, tensors with all axes below; of one tensor, without B; of a picture,
    array, path or `Sample`, each signal is a `Sample` in the units of the given one, and `samples` a list of K.

    Attributes:
        mean: `[B, C, *size]`, the best estimate in squared error.
        samples: `samples[item][k]`, `[B, K, C, *size]`: draws of what the signal may have been (modes sample and
            interval); None in mode mean.
        lower: Lower end of the interval that holds each element with the asked coverage (mode interval).
        upper: Its upper end.
        sigma: Noise level `[B]` that was used, given or estimated (after stabilisation, where noise is not Gaussian),
            or a map of it.
        nfe: Calls of the prior for each item.
        warnings: Lines for the user.
    """

    mean: Any
    samples: Any
    lower: Any
    upper: Any
    sigma: Any
    nfe: int
    warnings: tuple[str, ...] = ()

    def only(self) -> "Restored":
        """The answer for the only item of a batch, without the axis of the batch."""
        mean, samples, lower, upper = (
            part if part is None else part[0] for part in (self.mean, self.samples, self.lower, self.upper)
        )
        sigma = self.sigma[0] if len(self.sigma) == 1 else self.sigma
        return Restored(mean, samples, lower, upper, sigma, self.nfe, self.warnings)

    def as_samples(self, back: Callable[[Tensor], Sample], sigma: float, warnings: tuple[str, ...]) -> "Restored":
        """The same with each signal `[B, C, *size]` as a sample by `back`, where the B items are parts of one."""
        mean, lower, upper = (part if part is None else back(part) for part in (self.mean, self.lower, self.upper))
        samples = None if self.samples is None else [back(one) for one in self.samples.unbind(1)]
        lines = tuple(dict.fromkeys((*warnings, *self.warnings)))
        return Restored(mean, samples, lower, upper, torch.tensor(sigma), self.nfe, lines)

    def _repr_html_(self) -> str:
        """The answer in a notebook: the estimate, its ends or the first samples, and what was found."""
        if not isinstance(self.mean, Sample):
            return f"<pre>Restored: mean {list(self.mean.shape)}, nfe {self.nfe}</pre>"
        rows, captions = [[self.mean]], [f"best estimate, sigma {float(self.sigma):.3g}, {self.nfe} network calls"]
        if self.lower is not None and self.upper is not None:
            rows, captions = [*rows, [self.lower, self.upper]], [*captions, "lower and upper end"]
        elif self.samples:
            rows, captions = [*rows, self.samples[:SHOWN]], [*captions, f"samples, {len(self.samples)} in all"]
        return html_of_rows(
            [*rows, *([Sample("text", line)] for line in self.warnings)], captions + [""] * len(self.warnings)
        )
