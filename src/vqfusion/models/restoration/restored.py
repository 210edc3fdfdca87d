"""Result of a restoration, as tensors or samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vqfusion.data.display import html_of_rows
from vqfusion.types import Sample

SHOWN = 4  # samples that notebooks show


@dataclass(frozen=True)
class Restored:
    """Result of `restore`, in the form of its input.

    For a batch these are tensors with the axes below; for one tensor without B; for a picture, array, path or `Sample`
    each signal is a `Sample` in the units of the input, and `samples` a list.

    Attributes:
        mean: Estimate with the least squared error `[B, C, *size]`.
        samples: Samples from the posterior, `samples[item][k]`, `[B, K, C, *size]`; None in mode "mean".
        lower: Lower ends of the intervals, in mode "interval".
        upper: Upper ends of the intervals, in mode "interval".
        sigma: Noise level that was used `[B]`, or a map of it: given or estimated, after variance stabilisation where
            noise is not Gaussian.
        nfe: Network evaluations for each item.
        warnings: Warnings for the user, one line each.
    """

    mean: Any
    samples: Any
    lower: Any
    upper: Any
    sigma: Any
    nfe: int
    warnings: tuple[str, ...] = ()

    def only(self) -> "Restored":
        """Result of the only item of a batch, without the batch axis."""
        mean, samples, lower, upper = (
            part if part is None else part[0] for part in (self.mean, self.samples, self.lower, self.upper)
        )
        sigma = self.sigma[0] if len(self.sigma) == 1 else self.sigma
        return Restored(mean, samples, lower, upper, sigma, self.nfe, self.warnings)

    def as_samples(self, back: Callable[[Tensor], Sample], sigma: float, warnings: tuple[str, ...]) -> "Restored":
        """Convert each signal `[B, C, *size]` to a sample by `back`, where the B items are the parts of one sample."""
        mean, lower, upper = (part if part is None else back(part) for part in (self.mean, self.lower, self.upper))
        samples = None if self.samples is None else [back(one) for one in self.samples.unbind(1)]
        lines = tuple(dict.fromkeys((*warnings, *self.warnings)))
        return Restored(mean, samples, lower, upper, torch.tensor(sigma), self.nfe, lines)

    def _repr_html_(self) -> str:
        """Result for notebooks: the estimate, the interval or the first samples, and warnings."""
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
