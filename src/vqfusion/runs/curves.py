"""Curves of a training, drawn into parts of a page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vqfusion.pages import page
from vqfusion.runs.run import Stage

MOST = 400  # points of a curve; more are averaged
AT_ONCE = 12  # curves of what a network reported that are open, those with most points first
WIDE = 20.0  # ratio of the largest to the smallest value from which the scale is logarithmic, up to its fourth power
USUAL = ("step", "loss", "learning_rate", "seconds")

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """Values over steps; `dotted` marks each."""

    name: str
    points: Points
    dotted: bool = False


def curves_of(stage: Stage) -> str:
    """Loss and validation of a network, and below it the rest that it reported, its learning rate and its speed."""
    training = Curve("training", _points(stage.lines, "loss"))
    held_out = Curve("validation", _points(stage.validations, "loss"), dotted=True)
    best = float(stage.best["step"]) if stage.best else None
    large = chart("loss", [training, held_out], best)
    reported = [Curve(name, _points(stage.lines, name)) for name in _others(stage.lines)]
    reported.sort(key=lambda one: -len(one.points))
    small = [chart(one.name, [one]) for one in reported[:AT_ONCE]]
    small += [
        chart(name, [Curve(name, _points(stage.validations, name), True)], best) for name in _others(stage.validations)
    ]
    small.append(chart("learning rate", [Curve("learning rate", _points(stage.lines, "learning_rate"))]))
    small.append(chart("steps a second", [Curve("steps a second", speed(stage.lines))]))
    parts = [page.row("large", [large]), page.row("four", [one for one in small if one])]
    if rare := [chart(one.name, [one]) for one in reported[AT_ONCE:]]:
        parts.append(page.folded(f"{len(rare)} more", page.row("four", [one for one in rare if one])))
    return page.joined(*parts)


def speed(lines: Sequence[dict]) -> Points:
    """Steps a second between lines, in which validations and checkpoints count too."""
    before, found = (0.0, 0.0), []
    for line in lines:
        step, seconds = float(line["step"]), float(line.get("seconds", 0.0))
        if seconds > before[1]:
            found.append((step, (step - before[0]) / (seconds - before[1])))
        before = (step, seconds)
    return found


def chart(title: str, curves: Sequence[Curve], best: float | None = None) -> str:
    """Chart of curves over the same steps; empty where none of them has a point."""
    curves = [Curve(one.name, thinned(one.points), one.dotted) for one in curves if one.points]
    if not curves:
        return ""
    steps = [x for one in curves for x, _ in one.points]
    values = [y for one in curves for _, y in one.points]
    low, high = min(values), max(values)
    log = low > WIDE**-4 * high and high > WIDE * low
    scale = math.log if log else float
    first, last = min(0.0, *steps), max(steps)
    bottom, height = scale(low), (scale(high) - scale(low)) or 1.0

    def place(x: float, y: float) -> str:
        return f"{1000 * (x - first) / ((last - first) or 1.0):.1f} {195 - 190 * (scale(y) - bottom) / height:.1f}"

    lines = []
    for one, kind in zip(curves, ("second",) if curves[0].dotted else ("first", "second"), strict=False):
        places = [place(x, y) for x, y in one.points]
        dots = "".join(f"M{p}h0" for p in places) if one.dotted or len(places) == 1 else ""
        lines.append({"name": one.name, "kind": kind, "path": "M" + "L".join(places), "dots": dots})
    latest = ", ".join(
        f"{one.name} {one.points[-1][1]:.4g}" if len(curves) > 1 else f"{one.points[-1][1]:.4g}" for one in curves
    )
    said = "; ".join(
        f"{one.name}: from {one.points[0][1]:.3g} at step {one.points[0][0]:.0f} to {one.points[-1][1]:.3g} at step "
        f"{one.points[-1][0]:.0f}"
        for one in curves
    )
    where = None if best is None else round(1000 * (best - first) / ((last - first) or 1.0), 1)
    title = f"{title} (logarithmic)" if log else title
    return page.chart(
        title, latest, lines, f"{low:.3g}", f"{high:.3g}", f"step {first:,.0f}", f"{last:,.0f}", said, where
    )


def thinned(points: Points) -> Points:
    """At most `MOST` points: means over equal numbers of neighbours; the last point stays as it is."""
    width = -(-len(points) // MOST)
    if width <= 1:
        return points
    parts = [points[i : i + width] for i in range(0, len(points) - 1, width)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts] + points[-1:]


def _others(lines: Sequence[dict]) -> list[str]:
    """Names of the numbers in lines beside the usual ones."""
    names = dict.fromkeys(name for line in lines for name, value in line.items() if isinstance(value, int | float))
    return [name for name in names if name not in USUAL]


def _points(lines: Sequence[dict], name: str) -> Points:
    found = [(float(line["step"]), line.get(name)) for line in lines]
    return [(x, float(y)) for x, y in found if isinstance(y, int | float) and math.isfinite(y)]
