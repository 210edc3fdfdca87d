"""Report of a restoration: before, after, difference and uncertainty, as one HTML page with pictures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from vqfusion.data.io import write
from vqfusion.data.transforms import resize_picture
from vqfusion.modalities import MODALITIES
from vqfusion.pages import page
from vqfusion.types import Sample

if TYPE_CHECKING:
    from vqfusion.tasks import Answer

PREVIEW, DETAIL = 720, 96  # longer side of a preview, and side of a detail, in pixels
COLOURS = torch.tensor([[8, 8, 24], [64, 24, 104], [176, 52, 96], [240, 132, 56], [252, 232, 164]]) / 255
AMPLIFIED = (1, 2, 4, 8, 16, 32, 64)
POINTS = 600  # largest number of points of a curve


@dataclass(frozen=True)
class Shown:
    """Part of the page for one input."""

    name: str
    body: str


def show(name: str, given: Sample, answer: "Answer", i: int, paths: dict[str, Path]) -> Shown:
    """Write views of one result to `paths` and make its part of the page.

    Args:
        name: Name of the input.
        given: The input.
        answer: The results.
        i: Index of the item in `answer`.
        paths: File of each view.

    Returns:
        The part of the page.
    """
    made, finding = answer.samples[i], answer.findings[i] if answer.findings else None
    bounds = (finding.lower, finding.upper) if finding and finding.lower and finding.upper else None
    kind = MODALITIES[given.modality]
    if kind.heard:
        sounds = [page.player(given, "before"), *(page.player(one, "after") for one in made)]
        return Shown(name, page.grid(sounds))
    if kind.by_channel:
        return Shown(name, page.joined(*(_curve(given, made[0], bounds, c) for c in range(min(4, len(given.data))))))
    before, after, *rest = (_picture(one, made[0]) for one in (given, made[0], *(bounds or made[1:])))
    views = {"before": before, "after": after}
    if not bounds:
        views |= {f"after, sample {k + 2}": one for k, one in enumerate(rest)}
    difference, times = amplified(after - before)
    views[f"difference, {times} times"] = difference
    beside = torch.cat([_preview(before), _preview(after)], dim=2)
    files = {"side-by-side": beside, "difference": _preview(difference)}
    if bounds:
        width = (rest[1] - rest[0]).mean(dim=0)
        peak = float(width.max())
        map = coloured(width / (peak or 1.0))
        views[f"uncertainty: width of the {100 * (finding.coverage or 0):g} % interval, dark 0, light {peak:.3g}"] = map  # type: ignore[union-attr]
        files["uncertainty"] = _preview(map)
    for what, path in paths.items():
        write(Sample("image", files[what]), path, force=True)
    whole = [page.picture(_preview(one), caption) for caption, one in views.items()]
    top, left = _most_changed(after - before)
    cut = [page.picture(one[:, top : top + DETAIL, left : left + DETAIL], "", "detail") for one in views.values()]
    body = [page.row("four", whole)]
    if max(after.shape[1:]) > 2 * DETAIL:
        body += [page.paragraph("Pixel by pixel, where it changed most:"), page.row("four", cut)]
    return Shown(name, page.joined(*body))


def restoration_page(task: str, report: dict[str, Any], shown: Sequence[Shown]) -> str:
    """Whole page.

    Args:
        task: Name of the task.
        report: The report as JSON.
        shown: The part of each input.

    Returns:
        The page as HTML.
    """
    sections: dict[str, str] = {}
    for row, one in zip(report["items"], shown, strict=True):
        facts = [f"{row['nfe']} network call{'s' * (row['nfe'] != 1)}", f"{row['seconds']:.2f} s"]
        if "sigma" in row:
            facts.insert(0, f"noise {_level(row['sigma'], row['modality'])}")
        if "mean_width" in row:
            facts.append(f"{100 * row['coverage']:g} % interval {row['mean_width']:.3g} wide on average")
        body = page.joined(*(page.paragraph(text, "warn") for text in row.get("warnings", ())), one.body)
        key = f"{one.name}-{len(sections) + 1}"
        sections[key] = page.section(key, row["input"], f"to {', '.join(row['outputs'])}", "", body, ", ".join(facts))
    about = "Input, result and their difference: grey is no change, lighter is brighter than before."
    chips = [f"vqfusion {task}", f"mode {report['mode']}", f"model {report['model']}", f"seed {report['seed']}"]
    footer = f"{len(shown)} inputs in {report['seconds']:.1f} s. The numbers are in report.json."
    return page.page(f"vqfusion {task}", about, chips, sections, footer)


def coloured(values: Float[Tensor, "H W"]) -> Float[Tensor, "3 H W"]:
    """Colour map of values in [0, 1], from dark blue over red to pale yellow."""
    place = values.clamp(0, 1) * (len(COLOURS) - 1)
    below = place.floor().clamp(max=len(COLOURS) - 2)
    share = (place - below)[..., None]
    low = COLOURS[below.long()]
    return (low + share * (COLOURS[below.long() + 1] - low)).permute(2, 0, 1)


def amplified(difference: Float[Tensor, "C H W"]) -> tuple[Float[Tensor, "C H W"], int]:
    """Difference on middle grey, amplified to be visible, and the factor."""
    some = difference.abs().flatten()[:: max(1, difference.numel() // 10**6)]
    typical = float(torch.quantile(some, 0.99))
    times = max((n for n in AMPLIFIED if n * typical <= 0.5), default=1)
    return (0.5 + times * difference).clamp(0, 1), times


def _picture(sample: Sample, like: Sample) -> Float[Tensor, "C H W"]:
    """Picture of the size of `like`, or the middle slice of the first volume in its range of values."""
    data = sample.data.float()
    if MODALITIES[sample.modality].own_units:
        middle = like.data[:1, like.data.shape[1] // 2] if like.data.ndim == 4 else like.data
        low, high = float(middle.min()), float(middle.max())
        data = data[:1, data.shape[1] // 2] if data.ndim == 4 else data
        data = (torch.nan_to_num(data, low) - low) / ((high - low) or 1.0)
        size = middle.shape[1:]
    else:
        size = like.data.shape[1:]
    return resize_picture(data, (size[0], size[1])) if data.shape[1:] != size else data


def _preview(picture: Float[Tensor, "C H W"]) -> Float[Tensor, "C h w"]:
    height, width = picture.shape[1:]
    factor = max(height, width) / PREVIEW
    if factor <= 1:
        return picture
    return resize_picture(picture, (max(1, round(height / factor)), max(1, round(width / factor))))


def _most_changed(difference: Float[Tensor, "C H W"]) -> tuple[int, int]:
    """Top left corner of the square of `DETAIL` pixels with the largest changes."""
    height, width = difference.shape[1:]
    side = min(DETAIL, height, width)
    power = functional.avg_pool2d(difference.square().mean(0)[None, None], side, max(1, side // 4))[0, 0]
    row, column = divmod(int(power.argmax()), power.shape[1])
    return row * max(1, side // 4), column * max(1, side // 4)


def _level(sigma: float, modality: str) -> str:
    return f"{255 * sigma:.1f} / 255" if MODALITIES[modality].pictured else f"{sigma:.3g}"


def _curve(before: Sample, after: Sample, bounds: tuple[Sample, Sample] | None, channel: int) -> str:
    """One channel as curves: before in grey, after in blue, the interval as a band."""
    lines = [before.data[channel], after.data[channel], *((one.data[channel] for one in bounds) if bounds else ())]
    known = torch.cat([line[torch.isfinite(line)] for line in lines])
    low, high = float(known.min()), float(known.max())

    def points(line: Tensor) -> list[str]:
        places = torch.linspace(0, len(line) - 1, min(POINTS, len(line))).round().long()
        rows = ((i / (len(line) - 1 or 1), float(line[i])) for i in places.tolist())
        return [
            "" if math.isnan(v) else f"{1000 * x:.1f},{140 - 130 * (v - low) / ((high - low) or 1):.1f}"
            for x, v in rows
        ]

    def pieces(line: Tensor) -> list[str]:
        """Known parts of the curve, split at gaps."""
        return [piece.strip() for piece in " ".join(points(line)).replace("  ", "|").split("|") if piece.strip()]

    band = " ".join(points(lines[2]) + points(lines[3])[::-1]) if bounds else ""
    names = before.channel_names or ()
    name = names[channel] if channel < len(names) else f"channel {channel + 1}"
    said = f"{name}: before grey, after blue, from {low:.4g} to {high:.4g}"
    return page.joined(page.curve(band, pieces(lines[0]), pieces(lines[1])), page.paragraph(said))
