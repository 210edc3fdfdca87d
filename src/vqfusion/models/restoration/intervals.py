"""Intervals with calibrated coverage: split-conformal calibration, coverage by group, warnings about unusual inputs."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vqfusion.deprecated import OldMethod
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.models.restoration.regions import CLASSES
from vqfusion.models.restoration.residual_band import ResidualBand

EVERYTHING = "all"
LEAST_WIDTH = 1e-6  # narrower intervals are scaled as if they had this width
SHOWN = 0.01  # fraction of a picture from which on it shows a class
SHRINKAGE = 10  # pictures that weigh as much as what is known of all classes together
LEAST_ELEMENTS = 200  # of a class, below which it has the factor of all
TAIL = 0.01  # fraction of the calibration data beyond each end of the range of a statistic
SLACK = 0.25  # fraction of that range by which a statistic may exceed it without a warning


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
        ranges: Values of each of `statistics` between which 98 % of the calibration data lie.
        band: Where given, intervals are those of the band about the mean, else those of samples.
        regional: Factors of each group for the classes of elements that `region_classes` tells apart; empty where there
            is one factor for all.
    """

    coverage: float
    scales: dict[str, float]
    elements: dict[str, int]
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    band: ResidualBand | None = None
    regional: dict[str, tuple[float, ...]] = field(default_factory=dict)

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
        classes: Int64[Tensor, "N ..."] | None = None,
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
            classes: Class of each element by `region_classes`; each then has a factor of its own in each group.

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
        rows = {EVERYTHING: list(range(len(lower)))}
        for i, group in enumerate(_checked_groups(groups, len(lower))):
            rows.setdefault(group, []).append(i)
        for name, own in sorted(rows.items()):
            scales[name], elements[name] = conformal_quantile(scores[own].flatten(), coverage), scores[own].numel()
        regional = {}
        if classes is not None:
            regional = {
                name: _by_class(scores[own], classes[own], scales[name], coverage) for name, own in rows.items()
            }
        ranges = {}
        for name in dict.fromkeys(name for one in found for name in one):
            values = torch.tensor([one[name] for one in found if name in one], dtype=torch.float64)
            ranges[name] = (float(values.quantile(TAIL)), float(values.quantile(1 - TAIL)))
        return cls(coverage, scales, elements, ranges, band, regional)

    def apply(
        self,
        lower: Float[Tensor, "..."],
        upper: Float[Tensor, "..."],
        centre: Float[Tensor, "..."] | None = None,
        group: str = EVERYTHING,
        classes: Int64[Tensor, "..."] | None = None,
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Scale intervals that were made like those of `fit`.

        Args:
            lower: Lower ends.
            upper: Upper ends.
            centre: Centre of each interval; its middle by default.
            group: Group of the items.
            classes: Class of each element, where `fit` had classes; without them the factor is that of the group.

        Returns:
            Calibrated lower and upper ends.
        """
        if group not in self.scales:
            raise UserError(f"group {group!r} is not one that was calibrated: {', '.join(self.scales)}")
        middle = (lower + upper) / 2 if centre is None else centre
        scale: float | Tensor = self.scales[group]
        if classes is not None and self.regional:
            scale = lower.new_tensor(self.regional[group])[classes]
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
            regional = {name: tuple(map(float, factors)) for name, factors in stored.get("regional", {}).items()}
            return cls(float(stored["coverage"]), stored["scales"], stored["elements"], ranges, band, regional)
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


def _by_class(
    scores: Float[Tensor, "N ..."], classes: Int64[Tensor, "N ..."], whole: float, coverage: float
) -> tuple[float, ...]:
    """Factor of each class: the quantile of its scores, drawn to that of all the fewer of the N items show the class.

    Scores of one picture are alike, so that a class seen in n pictures is no surer than n numbers. The logarithm of its
    factor has the weight n / (n + `SHRINKAGE`), that of the factor `whole` the rest.
    """
    factors = []
    for number in range(CLASSES):
        where = classes == number
        shown = int((where.flatten(1).double().mean(dim=1) > SHOWN).sum())
        own = scores[where]
        if not shown or len(own) < LEAST_ELEMENTS:
            factors.append(whole)
            continue
        weight = shown / (shown + SHRINKAGE)
        factors.append(conformal_quantile(own, coverage) ** weight * whole ** (1 - weight))
    return tuple(factors)


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


def _checked_groups(groups: Sequence[str] | None, items: int) -> Sequence[str]:
    if groups is not None and len(groups) != items:
        raise UserError(f"{len(groups)} groups for {items} items: name one for each")
    if groups is not None and EVERYTHING in groups:
        raise UserError(f"a group cannot be called {EVERYTHING!r}: that is all of them")
    return groups or ()
