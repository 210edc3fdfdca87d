"""Intervals that hold what they promise: split-conformal calibration, coverage by group, warnings about new inputs."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.operators import Operator
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.models.restoration.residual_band import ResidualBand

EVERYTHING = "all"
LEAST_WIDTH = 1e-6  # an interval of no width is scaled as if it had this one
SLACK = 0.25  # of the range over calibration data, by which a statistic may leave it before a warning


@dataclass(frozen=True)
class Coverage:
    """The share of elements inside their intervals, the mean width in sample units, and how many elements."""

    share: float
    width: float
    elements: int


@dataclass(frozen=True)
class Calibration:
    """Factors that widen intervals about their centre so that they hold `coverage` of elements like those it saw.

    `scales` has one factor for each group and one for "all" of them; `elements` counts what each rests on. `ranges`
    are the least and greatest of each of `statistics` over the calibration data. With a `band`, intervals are those
    of the band about the mean, else those of samples. The promise is for elements exchangeable with the calibration
    data, on average: single pictures may hold more or less.
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
        """Factors from intervals of calibration data and their truths; `groups` names the group of each item.

        The factor is the ceil((n + 1) coverage)-th smallest of the scores max((c - x) / (c - l), (x - c) / (u - c)),
        about `centre` c (the middle where not given): Angelopoulos et al. (2022), section 2.2, with the quantile of
        Romano, Patterson, Candès (2019), eq. 8. `found` are the `statistics` of the items.
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
        """Calibrated ends of intervals that are made like those of `fit`."""
        if group not in self.scales:
            raise UserError(f"group {group!r} is not one that was calibrated: {', '.join(self.scales)}")
        middle = (lower + upper) / 2 if centre is None else centre
        scale = self.scales[group]
        below, above = (side.clamp(min=LEAST_WIDTH) for side in (middle - lower, upper - middle))
        return middle - scale * below, middle + scale * above

    def warnings(self, found: dict[str, float]) -> tuple[str, ...]:
        """A line for each statistic that lies outside of what calibration saw, by more than a quarter of its range."""
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
        """Write JSON."""
        write_bytes(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """Read what `save` wrote; UserError where it is something else."""
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
    """The factor by which each interval must be scaled about its centre to just hold the truth."""
    middle = (lower + upper) / 2 if centre is None else centre
    below = (middle - truth) / (middle - lower).clamp(min=LEAST_WIDTH)
    above = (truth - middle) / (upper - middle).clamp(min=LEAST_WIDTH)
    return torch.maximum(below, above)


def conformal_quantile(scores: Float[Tensor, " N"], coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest score; UserError where there are too few for that."""
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
    """What intervals hold, over all items and over those of each group."""
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
    """What tells an unusual input, of each item: the brightness and the spread of the restored signal and, where y is
    noisy, sigma, the energy of the residual y - A(mean) against it and how alike neighbours in the residual are."""
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
