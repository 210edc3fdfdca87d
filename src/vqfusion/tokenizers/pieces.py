"""Long texts and sounds in pieces: cut where a sentence or a word ends and where it is quiet, and joined again."""

import re
import unicodedata
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# ends of paragraphs, sentences, clauses and words: the first kind that is near the middle is where a text is cut
ENDS = tuple(re.compile(end) for end in (r"\n\s*", r"[.!?…]+[\"'”’)]*\s+|[。！？]+", r"[,;:]\s+|[，；、：]", r"\s+"))
MIDDLE = 0.5  # a text is cut within this part of it, around its middle
QUIET_S = 0.1  # a sound is cut in the middle of the quietest stretch of this duration


def cut_text(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Cut a text in two, and its parts again, until every piece fits.

    Args:
        text: The text.
        fits: Whether a piece is short enough.

    Returns:
        The pieces, without white space at their ends; a word is cut only where it does not fit by itself.
    """
    if fits(text) or len(text) < 2:
        return [text]
    place = _place(text)
    parts = [part for part in (text[:place].strip(), text[place:].strip()) if part]
    return [piece for part in parts for piece in cut_text(part, fits)]


def _place(text: str) -> int:
    """End of a paragraph, sentence, clause or word in the middle of a text; else the middle, or the end of a word."""
    middle, reach = len(text) / 2, MIDDLE * len(text) / 2
    places: list[int] = []
    for end in ENDS:
        places = [found.end() for found in end.finditer(text) if found.end() < len(text)]
        near = [place for place in places if abs(place - middle) <= reach]
        if near:
            return min(near, key=lambda place: abs(place - middle))
    return min(places, key=lambda place: abs(place - middle), default=len(text) // 2)


def join_texts(texts: Sequence[str]) -> str:
    """Join texts with spaces, but without one between characters of scripts that have none."""
    out = ""
    for text in texts:
        wide = out and text and all(unicodedata.east_asian_width(one) in "WF" for one in (out[-1], text[0]))
        out += text if wide or not out or not text else f" {text}"
    return out


def cut_sound(sound: Float[Tensor, "1 T"], most: int, whole: int, sample_rate_hz: int) -> list[Float[Tensor, "1 N"]]:
    """Cut a sound where it is quietest in the second half of each piece.

    Args:
        sound: The sound.
        most: Largest length of a piece in samples, a multiple of `whole`.
        whole: Every piece but the last is a multiple of this many samples, so that joined pieces have no gaps.
        sample_rate_hz: Sample rate.

    Returns:
        The pieces, which together are the sound.
    """
    energy = F.pad(sound[0], (0, -sound.shape[1] % whole)).view(-1, whole).float().square().mean(dim=1)
    width = max(1, round(QUIET_S * sample_rate_hz / whole))
    padded = F.pad(
        energy[None, None], ((width - 1) // 2, width // 2), mode="replicate" if len(energy) > 1 else "constant"
    )
    smooth = F.avg_pool1d(padded, width, stride=1)[0, 0]
    at, count, pieces = 0, most // whole, []
    while sound.shape[1] - at * whole > most:
        low = at + max(1, count // 2)
        # energy of the block on either side of each place
        around = torch.maximum(smooth[low - 1 : at + count], smooth[low : at + count + 1])
        end = low + int(around.argmin())
        pieces.append(sound[:, at * whole : end * whole])
        at = end
    return [*pieces, sound[:, at * whole :]]
