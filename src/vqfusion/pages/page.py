"""HTML pages with embedded pictures, sounds and style, from the templates beside this file.

Parts of a page are `Markup`; everything else that is put into a part, such as a file name or a generated text, is
escaped by Jinja2.
"""

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from vqfusion.types import Sample

UNSEEN = {"concept": "concept unseen", "pair": "style unseen", "voice": "voice unseen"}


def page(
    title: str, about: str, chips: Sequence[str], sections: Mapping[str, str], footer: str, refresh: int = 0
) -> str:
    """Whole document, which loads nothing from elsewhere.

    Args:
        title: Title of the page.
        about: Introduction.
        chips: Short facts in a row of badges.
        sections: Sections by name, to which the head of the page links.
        footer: Last line.
        refresh: Seconds after which a browser loads the page again; 0: never.

    Returns:
        The document as HTML.
    """
    document = _templates().get_template("page.html")
    return document.render(title=title, about=about, chips=chips, sections=sections, footer=footer, refresh=refresh)


def section(name: str, title: str, about: str, command: str, body: str, right: str = "") -> Markup:
    """Section with a heading that the head of the page links to.

    Args:
        name: Name for the link.
        title: Heading.
        about: Introduction.
        command: Command that produces the content; empty shows none.
        body: Content.
        right: Text at the right end of the heading.

    Returns:
        The section.
    """
    return _part("section", name, title, about, command, body, right)


def png(picture: Float[Tensor, "C H W"]) -> bytes:
    """8-bit PNG file of a picture in [0, 1]."""
    from PIL import Image

    array = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def wav(sound: Sample) -> bytes:
    """16-bit mono WAV file of a sound."""
    import soundfile

    buffer = io.BytesIO()
    data = sound.data.mean(dim=0).cpu().numpy()
    soundfile.write(buffer, data, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def picture(data: Float[Tensor, "C H W"], caption: str = "", kind: str = "") -> Markup:
    """Figure with a caption; the classes `kind` "small" and "detail" show single pixels."""
    return _part("picture", _base64(png(data)), caption, kind)


def atlas(data: Float[Tensor, "C H W"]) -> Markup:
    """Picture over the whole width."""
    return _part("atlas", _base64(png(data)))


def player(sound: Sample, caption: str = "") -> Markup:
    """Audio player with the waveform of the sound."""
    wave = sound.data.abs().amax(dim=0)
    pieces = torch.nn.functional.adaptive_max_pool1d(wave[None, None], 90)[0, 0]
    heights = (16 * pieces / pieces.max().clamp_min(1e-6)).tolist()
    outline = "".join(f"M{2 * i + 1} {17 - h:.1f}V{17 + h:.1f}" for i, h in enumerate(heights))
    return _part("player", _base64(wav(sound)), outline, caption)


def word(text: str, language: str = "", right: bool | None = None) -> Markup:
    """Text in its own script and direction; green or red where it is a right or wrong answer."""
    return _part("word", text, language, right)


def said(language: str, text: str, right: bool | None = None) -> Markup:
    """One answer of a list: language and text, marked as right or wrong."""
    return _part("said", language, text, right)


def tag(held_out: str) -> Markup:
    """Badge that says whether the item was in training."""
    return _part("tag", UNSEEN.get(held_out, "seen"), held_out in UNSEEN)


def chip(text: str, new: bool = False) -> Markup:
    """Badge with any text."""
    return _part("tag", text, new)


def bars(distribution: dict[str, float], truth: str, count: int = 3) -> Markup:
    """Bars of the `count` most probable names; the true one is marked."""
    best = sorted(distribution.items(), key=lambda item: -item[1])[:count]
    return _part("bars", [(name, f"{100 * p:.0f}") for name, p in best], truth)


def grid(tiles: Iterable[str], least_px: int = 230) -> Markup:
    """Grid of tiles of at least this width."""
    return _part("grid", list(tiles), least_px)


def strip(parts: Iterable[str]) -> Markup:
    """Parts in one row."""
    return _part("row", "strip", list(parts))


def row(kind: str, parts: Iterable[str]) -> Markup:
    """Parts in a block of the class `kind`."""
    return _part("row", kind, list(parts))


def side(figure: str, *body: str) -> Markup:
    """Figure with other parts beside it."""
    return _part("side", figure, joined(*body))


def listed(parts: Iterable[str]) -> Markup:
    """List of parts made by `said`."""
    return _part("items", list(parts))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Markup:
    """Table of texts or parts."""
    return _part("table", head, list(rows))


def curve(band: str, before: Sequence[str], after: Sequence[str]) -> Markup:
    """Two curves with points "x,y" in 1000 x 150, over a band."""
    return _part("curve", band, before, after)


def chart(
    title: str,
    now: str,
    lines: Sequence[Mapping[str, str]],
    low: str,
    high: str,
    left: str,
    right: str,
    said: str,
    best: float | None = None,
) -> Markup:
    """Curves, in 1000 x 200.

    Args:
        title: What is drawn.
        now: Its last value, in words.
        lines: Of each curve the `name`, the class `kind` ("first" to "third"), its `path` and that of its `dots`.
        low: Value at the lower edge.
        high: Value at the upper edge.
        left: Step or share at the left edge.
        right: Step or share at the right edge.
        said: Description for those who do not see it.
        best: Place of the best step; None marks none.

    Returns:
        The figure.
    """
    return _part("chart", title, now, lines, low, high, left, right, said, best)


def progress(fraction: float, said: str) -> Markup:
    """Bar that is filled by a fraction in [0, 1]; `said` describes it."""
    return _part("progress", f"{100 * fraction:.1f}", said)


def folded(title: str, body: str, is_open: bool = False) -> Markup:
    """Part that is shown when its title is chosen."""
    return _part("folded", title, body, is_open)


def verbatim(text: str) -> Markup:
    """Text with its own line breaks."""
    return _part("pre", text)


def facts(rows: Iterable[tuple[str, str]]) -> Markup:
    """Names with their values, side by side."""
    return _part("facts", list(rows))


def preview(data: bytes, said: str) -> Markup:
    """Picture file (PNG) in its own size; `said` describes it."""
    return _part("preview", _base64(data), said)


def recording(data: bytes, said: str) -> Markup:
    """Sound file (WAV) as a player."""
    return _part("recording", _base64(data), said)


def histogram(heights: Sequence[float], caption: str) -> Markup:
    """Bars with heights from 0 to 60."""
    return _part("histogram", heights, caption)


def coloured(pieces: Iterable[tuple[str, str, str]]) -> Markup:
    """Text in pieces, each with the colour of its background as CSS and a value that is shown under the pointer."""
    return _part("coloured", list(pieces))


def isolated(text: str) -> Markup:
    """Text whose writing direction does not affect its surroundings."""
    return _part("isolated", text)


def marked(text: str, good: bool) -> Markup:
    """Text in the colour of good or bad results."""
    return _part("marked", text, good)


def strong(text: str) -> Markup:
    """Text in bold."""
    return _part("strong", text)


def soft(text: str) -> Markup:
    """Text in a muted colour."""
    return _part("soft", text)


def heading(text: str) -> Markup:
    """Heading within a section."""
    return _part("heading", text)


def paragraph(text: str, kind: str = "about") -> Markup:
    """Paragraph of the class `kind`."""
    return _part("paragraph", text, kind)


def joined(*parts: str, by: str = " ") -> Markup:
    """Concatenate parts; plain text among them is escaped."""
    return Markup(by).join(parts)


def _part(name: str, *values: Any) -> Markup:
    return getattr(_templates().get_template("parts.html").module, name)(*values)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("vqfusion.pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    found.filters["anchor"] = lambda name: re.sub(r"[^\w-]+", "-", name)
    return found
