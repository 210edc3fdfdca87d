"""Page of `inspect`, in the style of the demo."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vqfusion.pages import page

if TYPE_CHECKING:
    from torch import Tensor

    from vqfusion.inspect.codebook import CodebookHealth
    from vqfusion.inspect.concepts import Concept

BARS = 160
SHOWN_DEAD = 24
EXPLAINED = {
    "image": "For each code, a constant grid of it is decoded and its middle is shown; the most used code is at the "
    "top left. A constant grid hides edges; they appear in the second atlas, the mean of the decoded pictures around "
    "each occurrence of a code.",
    "audio": "One column for each code: the magnitude spectrum of a decoded frame, low frequencies at the bottom, "
    "silence dark. Quiet codes are on the left, the others ordered by the centroid of their energy.",
    "volume": "For each code, the middle slice of a decoded constant grid; grey is the mean of the volume, black and "
    "white are two standard deviations from it.",
    "series": "One column for each code: the values of two codes in sequence, time running down, from 2.5 standard "
    "deviations below the mean (dark) to 2.5 above.",
}


@dataclass(frozen=True)
class Shown:
    """A tokenizer on the page: measurements, atlases, the most used codes of texts, and what codes say about names."""

    health: "CodebookHealth"
    pictures: "Sequence[Tensor | None]"
    words: list[tuple[str, int]]
    concepts: "Sequence[Concept]" = ()


def inspection_page(model: str, data: str, shown: Sequence[Shown], left_out: dict[str, str]) -> str:
    """Whole page.

    Args:
        model: Name of the model.
        data: Description of the data.
        shown: The tokenizers.
        left_out: Tokenizers that were not measured, with the reason.

    Returns:
        The page as HTML.
    """
    sections = {one.health.tokenizer: _section(one) for one in shown}
    about = (
        "The codebooks of one model. Usage is the fraction of codes that occur; perplexity is the number of equally "
        "frequent codes with the same entropy; efficiency is the entropy relative to the bits of a code; the error "
        "is the squared error of quantization relative to the variance of the latents. Counted on "
        f"{data}: usage, perplexity and efficiency are underestimated where few codes are counted."
    )
    chips = [f"model {model}", data, f"{len(shown)} tokenizers"]
    footer = "; ".join(f"{name} not measured: {why}" for name, why in left_out.items())
    return page.page(f"vqfusion, codes of {model}", about, chips, sections, footer)


def _section(one: Shown) -> str:
    health = one.health
    parts: list[str] = [page.table(HEAD, [_row(health, i) for i in range(len(health.depths))])]
    parts += [page.paragraph(_rate(health)), _histogram(health)]
    for title, picture in zip(("Atlas", "Atlas of the codes in use"), one.pictures, strict=True):
        if picture is not None:
            parts += [page.heading(title), page.atlas(picture)]
    if health.modality in EXPLAINED:
        parts.append(page.paragraph(EXPLAINED[health.modality]))
    if one.words:
        chips = [page.chip(page.joined(page.isolated(repr(text)[1:-1]), str(count))) for text, count in one.words]
        parts += [page.heading("Most used codes"), page.strip(chips)]
    if one.concepts:
        parts += [page.heading("What codes say about names"), page.table(SAYS, map(_says, one.concepts))]
    dead = [code for depth in health.depths for code in depth.dead]
    if dead:
        listed = ", ".join(map(str, dead[:SHOWN_DEAD])) + (", ..." if len(dead) > SHOWN_DEAD else "")
        parts.append(page.paragraph(f"Codes that did not occur: {listed}"))
    about = f"{health.quantizer} of {health.codebook_size:,} codes, {health.items:,} samples, {health.codes:,} codes"
    return page.section(health.tokenizer, health.tokenizer, about, "", page.joined(*parts))


HEAD = ("codebook", "usage", "dead codes", "perplexity", "entropy", "efficiency", "quantisation error")


def _row(health: "CodebookHealth", i: int) -> list[str]:
    depth = health.depths[i]
    error = depth.quantization_error
    share = depth.entropy_bits / max(math.log2(health.codebook_size), 1e-9)
    return [
        f"depth {i + 1}" if len(health.depths) > 1 else health.modality,
        page.strong(f"{100 * depth.usage:.1f} %"),
        f"{len(depth.dead):,} of {health.codebook_size:,}",
        page.strong(f"{depth.perplexity:.0f}"),
        f"{depth.entropy_bits:.2f} bits",
        f"{100 * share:.1f} %",
        "" if error is None else f"{100 * error:.1f} % of the variance",
    ]


SAYS = ("names", "items", "one code says", "of", "told by a linear probe", "commonest name")


def _says(one: "Concept") -> list[str]:
    return [
        f"{one.slot}, {one.names}",
        f"{one.items:,}",
        page.strong(f"{one.bits:.3f} bits"),
        f"{one.entropy_bits:.2f} bits",
        page.strong(f"{100 * one.accuracy:.1f} %"),
        f"{100 * one.commonest:.1f} %",
    ]


def _rate(health: "CodebookHealth") -> str:
    text = f"A code takes {math.log2(max(2, health.codebook_size)):.2f} bits without a model"
    if health.coded_bits is None:
        return text + "; there is no entropy model."
    return text + f" and {health.coded_bits:.2f} bits in a .vqf file, by the entropy model of its neighbours."


def _histogram(health: "CodebookHealth") -> str:
    """Frequencies of the codes in decreasing order, as bars with logarithmic heights."""
    counts = health.counts.sort(descending=True).values.tolist()
    width = max(1, -(-len(counts) // BARS))
    means = [sum(counts[i : i + width]) / len(counts[i : i + width]) for i in range(0, len(counts), width)]
    heights = [60 * math.log1p(mean) / math.log1p(means[0]) for mean in means]
    caption = f"How often each code occurs, from {counts[0]:,} times to {counts[-1]:,}, on a logarithmic scale."
    return page.histogram(heights, caption)
