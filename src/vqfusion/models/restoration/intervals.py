"""Intervals with calibrated coverage: split-conformal calibration, coverage by group, warnings about unusual inputs."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.deprecated import OldMethod
from vqfusion.diffusion.operators import Operator
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.models.restoration.residual_band import ResidualBand

EVERYTHING = "all"
LEAST_WIDTH = 1e-6  # narrower intervals are scaled as if they had this width
SLACK = 0.25  # fraction of the range over the calibration data by which a statistic may exceed it without a warning


@dataclass(frozen=True)
class Coverage:
    """Measured coverage of intervals.

    Attributes:
        share: Fraction of the elements inside their intervals.
        width: Mean width in sample units.
        elements: Number of elements.
    """

    share: float
    width: float
    elements: int


@dataclass(frozen=True)
class Calibration:
    """Factors that scale intervals about their centre to a given coverage on data like the calibration data.

    The coverage holds on average over elements exchangeable with the calibration data; that of a single picture may
    differ.

    Attributes:
        coverage: Fraction of elements that the intervals contain.
        scales: One factor for each group, and one for "all".
        elements: Number of calibration elements of each.
        ranges: Smallest and largest value of each of `statistics` over the calibration data.
        band: Where given, intervals are those of the band about the mean, else those of samples.
    """

    coverage: float
    scales: dict[str, float]
    elements: dict[str, int]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    band: ResidualBand | None = None

    @classmethod
    def fit(
        cls,
        lower: Float[Tensor, "N ..."],
        upper: Float[Tensor, "N ..."],
        truth: Float[Tensor, "N ..."],
        groups: Sequence[str] | None = None,
        centre: Float[Tensor, "N ..."] | None = None,
        coverage: float = 0.9,
        found: Sequence[dict[str, float]] = (),
        band: ResidualBand | None = None,
    ) -> "Calibration":
        """Fit the factors to intervals of calibration data and the true values.

        The factor is the ceil((n + 1) coverage)-th smallest of the scores max((c - x) / (c - l), (x - c) / (u - c)):
        Angelopoulos et al. (2022), section 2.2, with the quantile of Romano, Patterson, Candès (2019), eq. 8.

        Args:
            lower: Lower ends l.
            upper: Upper ends u.
            truth: True values x.
            groups: Group of each item.
            centre: Centre c of each interval; its middle by default.
            coverage: Fraction of elements to contain, in (0, 1).
            found: `statistics` of the items.
            band: Band that the intervals were made with, if any.

        Returns:
            The calibration.

        Raises:
            UserError: Arguments that do not fit, are not finite, or have too few elements for the coverage.
        """
        if lower.shape != upper.shape or lower.shape != truth.shape:
            shapes = [list(x.shape) for x in (lower, upper, truth)]
            raise UserError(f"lower, upper and truth must have one shape, not {shapes}")
        if not 0 < coverage < 1:
            raise UserError(f"coverage must lie between 0 and 1, not {coverage}")
        if not all(bool(torch.isfinite(x).all()) for x in (lower, upper, truth)):
            raise UserError("intervals to calibrate with hold NaN or infinity: leave such elements out")
        scores = interval_scores(lower, upper, truth, centre)
        scales = {EVERYTHING: conformal_quantile(scores.flatten(), coverage)}
        elements = {EVERYTHING: scores.numel()}
        for name in sorted(set(_checked_groups(groups, len(lower)))):
            own = scores[[i for i, group in enumerate(groups or ()) if group == name]].flatten()
            scales[name], elements[name] = conformal_quantile(own, coverage), own.numel()
        ranges = {}
        for name in found[0] if found else ():
            values = [one[name] for one in found]
            ranges[name] = (min(values), max(values))
        return cls(coverage, scales, elements, ranges, band)

    def apply(
        self,
        lower: Float[Tensor, "..."],
        upper: Float[Tensor, "..."],
        centre: Float[Tensor, "..."] | None = None,
        group: str = EVERYTHING,
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Scale intervals that were made like those of `fit`.

        Args:
            lower: Lower ends.
            upper: Upper ends.
            centre: Centre of each interval; its middle by default.
            group: Group of the items.

        Returns:
            Calibrated lower and upper ends.
        """
        if group not in self.scales:
            raise UserError(f"group {group!r} is not one that was calibrated: {', '.join(self.scales)}")
        middle = (lower + upper) / 2 if centre is None else centre
        scale = self.scales[group]
        below, above = (side.clamp(min=LEAST_WIDTH) for side in (middle - lower, upper - middle))
        return middle - scale * below, middle + scale * above

    doubts = OldMethod("warnings")

    def warnings(self, found: dict[str, float]) -> tuple[str, ...]:
        """Warnings for statistics that exceed their range over the calibration data by more than a quarter of it."""
        lines = []
        for name, (low, high) in self.ranges.items():
            slack = SLACK * (high - low) + 1e-3 * abs(high)
            value = found.get(name)
            if value is None:  # without noise there is no residual to judge
                continue
            if not low - slack <= value <= high + slack:
                lines.append(
                    f"the input is unlike the calibration data: {name} is {value:.3g}, there {low:.3g} to {high:.3g}; "
                    "intervals may not hold what they promise"
                )
        return tuple(lines)

    def save(self, path: str | Path) -> None:
        """Write the calibration as JSON."""
        write_bytes(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """Load what `save` wrote; UserError where the file is not a calibration."""
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            band = ResidualBand.from_lists(stored["band"]) if stored["band"] else None
            ranges = {name: (float(low), float(high)) for name, (low, high) in stored["ranges"].items()}
            return cls(float(stored["coverage"]), stored["scales"], stored["elements"], ranges, band)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not a calibration of intervals ({type(error).__name__})") from None


def interval_scores(
    lower: Float[Tensor, "..."],
    upper: Float[Tensor, "..."],
    truth: Float[Tensor, "..."],
    centre: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "..."]:
    """Factor by which each interval must be scaled about its centre to just reach the true value."""
    middle = (lower + upper) / 2 if centre is None else centre
    below = (middle - truth) / (middle - lower).clamp(min=LEAST_WIDTH)
    above = (truth - middle) / (upper - middle).clamp(min=LEAST_WIDTH)
    return torch.maximum(below, above)


def conformal_quantile(scores: Float[Tensor, " N"], coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest score; UserError where there are too few scores."""
    rank = math.ceil((len(scores) + 1) * coverage)
    if rank > len(scores):
        raise UserError(f"{len(scores)} elements are too few to calibrate a coverage of {coverage}")
    return float(scores.kthvalue(rank).values)


def coverage_by_group(
    lower: Float[Tensor, "N ..."],
    upper: Float[Tensor, "N ..."],
    truth: Float[Tensor, "N ..."],
    groups: Sequence[str] | None = None,
) -> dict[str, Coverage]:
    """Measure the coverage of intervals over all items and within each group.

    Args:
        lower: Lower ends.
        upper: Upper ends.
        truth: True values.
        groups: Group of each item.

    Returns:
        The coverage by group, and of "all".
    """
    inside, width = (truth >= lower) & (truth <= upper), upper - lower
    names = _checked_groups(groups, len(lower))
    chosen = {EVERYTHING: list(range(len(lower)))}
    for i, name in enumerate(names):
        chosen.setdefault(name, []).append(i)
    return {
        name: Coverage(float(inside[own].double().mean()), float(width[own].double().mean()), inside[own].numel())
        for name, own in chosen.items()
    }


def statistics(
    y: Float[Tensor, "B ..."], mean: Float[Tensor, "B C ..."], operator: Operator, sigma: Float[Tensor, "..."]
) -> list[dict[str, float]]:
    """Statistics of each item that reveal unusual inputs.

    They are mean and standard deviation of the restored signal and, where y is noisy, sigma, the energy of the residual
    y - A(mean) relative to it, and the correlation of neighbours in the residual.

    Args:
        y: Measurement.
        mean: Restored signal.
        operator: Measurement operator.
        sigma: Noise level.

    Returns:
        Values by name, for each item.
    """
    residuals, found = operator.A_adjoint(y - operator.A(mean)).double(), []
    for i, residual in enumerate(residuals):
        own = sigma[i if len(sigma) > 1 else 0].double()
        level = float(own.square().mean().sqrt())
        one = {"brightness": float(mean[i].double().mean()), "spread": float(mean[i].double().std())}
        if level > 0:
            centred = residual - residual.mean()
            energy = centred.square().mean().clamp(min=1e-20)
            alike = float((centred[..., 1:] * centred[..., :-1]).mean() / energy)
            one |= {"sigma": level, "residual energy": float(energy.sqrt()) / level, "residual likeness": alike}
        found.append(one)
    return found


def _checked_groups(groups: Sequence[str] | None, items: int) -> Sequence[str]:
    if groups is not None and len(groups) != items:
        raise UserError(f"{len(groups)} groups for {items} items: name one for each")
    if groups is not None and EVERYTHING in groups:
        raise UserError(f"a group cannot be called {EVERYTHING!r}: that is all of them")
    return groups or ()
