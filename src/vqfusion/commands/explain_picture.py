"""Picture of `explain`: what was given with its attributions, and the curves, as one PNG file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqfusion.commands.explain_page import NAMES, strongest
from vqfusion.inspect.attribution.overlay import LOWERS, RAISES, STRENGTH, overlay, pieces
from vqfusion.modalities import in_words
from vqfusion.pages import page

if TYPE_CHECKING:
    from vqfusion.inspect.attribution import Attribution, Explanation
    from vqfusion.models.fusion.system import System

INK, SOFT, PAPER = (31, 35, 40), (102, 112, 133), (251, 250, 248)
LINES = ((61, 90, 254), (179, 64, 31), (150, 156, 168))
WIDTH, MARGIN, LINE = 1000, 32, 34
CHART = 420, 200  # pixels


def explanation_picture(system: "System", model: str, found: "Explanation") -> bytes:
    """PNG file 1000 pixels wide; texts that are not in Latin script need the page.

    Args:
        system: The model.
        model: Its name.
        found: The explanation.

    Returns:
        The file.
    """
    import numpy as np
    import torch
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (WIDTH, 4096), PAPER)
    draw = ImageDraw.Draw(canvas)
    most = strongest(found)
    answer = found.answer.data if isinstance(found.answer.data, str) else "the sample that was made"
    gain = found.log_p - found.log_p_of_nothing
    draw.text((MARGIN, 20), f"{Path(model).name}: {found.target} = {answer}", fill=INK, font=_font(22))
    about = f"log probability {found.log_p:.3f} nats, {gain:+.3f} by what is given; red raises it, blue lowers it"
    draw.text((MARGIN, 52), f"{about}; the full colour is {most:.3f} nats", fill=SOFT, font=_font(14))
    top = 88
    for name, one in found.slots.items():
        draw.text((MARGIN, top), f"{name}: {one.total:+.3f} nats", fill=INK, font=_font(16))
        top += 26
        drawn = overlay(system.tokenizers[name], one, most)
        if drawn is None:
            top = _text(draw, system, name, one, most, top)
            continue
        tile = Image.fromarray((drawn * 255).round().byte().permute(1, 2, 0).numpy())
        canvas.paste(tile, (MARGIN, top))
        top += tile.height + 16
    for number, what in enumerate(("deletion", "insertion")):
        _chart(draw, found, what, MARGIN + number * (WIDTH // 2), top + 26)
    cut = canvas.crop((0, 0, WIDTH, top + CHART[1] + 100))
    return page.png(torch.from_numpy(np.array(cut)).permute(2, 0, 1) / 255)


def _text(draw: Any, system: "System", name: str, one: "Attribution", most: float, top: int) -> int:
    """Draw a text or a name in coloured pieces; returns where the next part begins."""
    if in_words(one.sample.modality):
        parts = list(zip(pieces(system.tokenizers[name], one.ids), one.values.tolist(), strict=True))
    else:
        parts = [(str(one.sample.data), one.total)]
    left, font = MARGIN, _font(20)
    for text, value in parts:
        wide = round(font.getlength(text))
        if left + wide > WIDTH - MARGIN and left > MARGIN:
            left, top = MARGIN, top + LINE
        share = STRENGTH * min(1.0, abs(value) / most)
        colour = RAISES if value > 0 else LOWERS
        mixed = tuple(round(p + share * (255 * c - p)) for p, c in zip(PAPER, colour, strict=True))
        draw.rectangle((left, top, left + wide, top + LINE - 8), fill=mixed)
        draw.text((left, top + 1), text, fill=INK, font=font)
        left += wide
    return top + LINE + 12


def _chart(draw: Any, found: "Explanation", what: str, left: int, top: int) -> None:
    """Draw the curves of each order over the share of the parts."""
    wide, high = CHART
    values = [value for one in found.curves.values() for value in getattr(one, what).tolist()]
    low, reach = min(values), (max(values) - min(values)) or 1.0
    title = {"deletion": "leaving out the most important first", "insertion": "adding the most important first"}[what]
    line = f"nats, from {low:.2f} to {max(values):.2f}, {title}"
    draw.text((left, top - 22), line, fill=SOFT, font=_font(14))
    draw.line((left, top, left, top + high, left + wide, top + high), fill=SOFT)
    for number, (name, one) in enumerate(found.curves.items()):
        pairs = zip(one.shares.tolist(), getattr(one, what).tolist(), strict=True)
        points = [(left + wide * x, top + high * (1 - (y - low) / reach)) for x, y in pairs]
        draw.line(points, fill=LINES[number], width=3 if number == 0 else 2)
        area = one.areas[0 if what == "deletion" else 1]
        place = left + number * wide // 3, top + high + 10
        draw.text(place, f"{NAMES[name]} {area:.2f}", fill=LINES[number], font=_font(13))


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
