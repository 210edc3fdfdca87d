"""Overview picture: a montage of results of the demo."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

INK, SOFT, PAPER, CARD = (31, 35, 40), (102, 112, 133), (251, 250, 248), (255, 255, 255)
WIDTH, MARGIN, TILE, GAP = 1200, 40, 128, 14


def overview(rows: Sequence[tuple[str, Sequence[tuple[str, Tensor]]]], path: Path) -> None:
    """Write a montage 1200 pixels wide: rows with a title and up to 8 pictures with captions in Latin script."""
    from PIL import Image, ImageDraw, ImageFont

    title_font, caption_font = ImageFont.load_default(22), ImageFont.load_default(14)
    row_height = 44 + TILE + 42
    height = MARGIN + row_height * len(rows) + MARGIN // 2
    canvas = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    for number, (title, pictures) in enumerate(rows):
        top = MARGIN + number * row_height
        draw.text((MARGIN, top - 8), title, fill=INK, font=title_font)
        for column, (caption, picture) in enumerate(pictures[:8]):
            left = MARGIN + column * (TILE + GAP)
            box = (left - 1, top + 27, left + TILE + 1, top + 29 + TILE)
            draw.rounded_rectangle(box, 10, fill=CARD, outline=(230, 227, 221))
            tile = Image.fromarray(_bytes(picture)).resize((TILE - 8, TILE - 8), Image.Resampling.LANCZOS)
            canvas.paste(tile, (left + 4, top + 32))
            for line, text in enumerate(_wrapped(caption, caption_font, TILE)):
                place = (left + TILE / 2, top + 34 + TILE + 16 * line)
                draw.text(place, text, fill=SOFT, font=caption_font, anchor="ma")
    canvas.save(path, optimize=True)


def _bytes(picture: Tensor):
    colour = picture.clamp(0, 1).expand(3, -1, -1)
    return (colour * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def _wrapped(text: str, font, width: int) -> list[str]:
    """Break a text into at most two lines, the second one cut with an ellipsis."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > 2:
        lines = [lines[0], lines[1] + "..."]
    while lines and font.getlength(lines[-1]) > width and len(lines[-1]) > 4:
        lines[-1] = lines[-1].removesuffix("...")[:-1] + "..."
    return lines
