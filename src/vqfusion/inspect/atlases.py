"""Atlases: pictures of what each code of a tokenizer decodes to, the most used codes first."""

from collections.abc import Callable, Sequence
from functools import singledispatch

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.tokenizers.audio import AudioTokenizer
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.tokenizers.network import TokenizerNetwork
from vqfusion.tokenizers.standardised import StandardisedTokenizer
from vqfusion.tokenizers.text import TextTokenizer
from vqfusion.tokenizers.text_vqvae import TextVQVAETokenizer
from vqfusion.types import Sample, Tokens

AROUND = {1: 16, 2: 5, 3: 5}  # by rank: codes along each axis of the constant grid that is decoded for one code
COLUMNS = 32
MOST = 1024  # codes in an atlas
ROWS_AT_ONCE = 64


@singledispatch
def atlas(tokenizer: BaseTokenizer, counts: Int[Tensor, " K"]) -> Float[Tensor, "3 H W"] | None:
    """Picture in [0, 1] of what the codes decode to; None for tokenizers of text and labels.

    For each code, a constant grid of it is decoded and the middle is shown: of pictures as it is; of volumes the middle
    slice; of sound the magnitude spectrum of a frame, low frequencies at the bottom; of series the values over time,
    from bottom to top. Codes are ordered by their number in `counts`, in rows of 32; sounds and series by pitch, in one
    row.

    Args:
        tokenizer: The tokenizer.
        counts: How often each code occurs.

    Returns:
        The picture.
    """
    return None


@atlas.register
def _pictures(tokenizer: ImageTokenizer, counts: Tensor) -> Tensor:
    return mosaic(_middles(tokenizer, counts, tokenizer.finish, extent=2))


@atlas.register
def _sounds(tokenizer: AudioTokenizer, counts: Tensor) -> Tensor:
    return by_pitch(_middles(tokenizer, counts, lambda out: out, extent=1).mean(dim=2))


@atlas.register
def _any_unit(tokenizer: StandardisedTokenizer, counts: Tensor) -> Tensor:
    """Grey is the mean, black and white are two standard deviations from it; series in colours up to 2.5."""
    parts = _middles(tokenizer, counts, tokenizer.finish, extent=2)
    if parts.ndim == 3:
        waves = parts[:, 0]
        return heat((waves[waves.mean(dim=1).argsort()] + 2.5).clamp(0, 5).t() / 5)
    slices = parts[:, :, parts.shape[2] // 2] if parts.ndim == 5 else parts
    return mosaic(((slices + 2) / 4).clamp(0, 1).expand(-1, 3, -1, -1))


def atlas_in_use(
    tokenizer: BaseTokenizer, samples: Sequence[Sample], counts: Int[Tensor, " K"]
) -> Float[Tensor, "3 H W"] | None:
    """Mean of the decoded pictures around each occurrence of a code, three codes wide.

    Shows edges and corners, which a constant grid hides. Codes are ordered as in `atlas`; those that do not occur are
    grey.

    Args:
        tokenizer: The tokenizer.
        samples: Pictures to encode.
        counts: How often each code occurs, for the order.

    Returns:
        The picture; None for tokenizers of other modalities.
    """
    if not isinstance(tokenizer, ImageTokenizer):
        return None
    side = 3 * tokenizer.vqvae.downsampling
    sums = torch.zeros(tokenizer.codebook_size, 3, side, side)
    seen = torch.zeros(tokenizer.codebook_size)
    for sample in samples:
        tokens = tokenizer.encode(tokenizer.fitted(sample))
        made = tokenizer.decode(tokens).data.cpu().expand(3, -1, -1)
        ids = tokens.ids.cpu()[1:-1, 1:-1].flatten()
        around = F.unfold(made[None], side, stride=tokenizer.vqvae.downsampling)[0].t().unflatten(1, (3, side, side))
        sums.index_add_(0, ids, around)
        seen.index_add_(0, ids, torch.ones(len(ids)))
    means = torch.where(seen[:, None, None, None] > 0, sums / seen.clamp(min=1)[:, None, None, None], 0.8)
    return mosaic(means[counts.argsort(descending=True, stable=True)[:MOST]])


def words(tokenizer: BaseTokenizer, counts: Int[Tensor, " K"], most: int = 60) -> list[tuple[str, int]]:
    """Most used codes of a text tokenizer as text, with their counts; empty for other tokenizers.

    Args:
        tokenizer: The tokenizer.
        counts: How often each code occurs.
        most: Largest number of codes.

    Returns:
        Pairs of text and count, the most frequent first.
    """
    if not isinstance(tokenizer, TextTokenizer | TextVQVAETokenizer):
        return []
    used = [int(code) for code in counts.argsort(descending=True, stable=True)[:most] if counts[code]]
    shown = [tokenizer.decode(Tokens(torch.tensor([code]), tokenizer.codebook_size, "text")).data for code in used]
    return [(text, int(counts[code])) for text, code in zip(shown, used, strict=True)]


@torch.no_grad()
def _middles(
    tokenizer: TokenizerNetwork, counts: Int[Tensor, " K"], finish: Callable[[Tensor], Tensor], extent: int
) -> Float[Tensor, "K C ..."]:
    """The middle `extent` codes along each axis of decoded constant grids, for the most used codes."""
    codes = counts.argsort(descending=True, stable=True)[:MOST]
    vqvae, rank = tokenizer.vqvae, tokenizer.config.vqvae.rank
    out = []
    for part in codes.split(ROWS_AT_ONCE):
        grid = part.to(tokenizer.device).view(-1, *[1] * rank).expand(-1, *[AROUND[rank]] * rank)
        made = finish(vqvae.decode(grid).float()).cpu()
        side = vqvae.downsampling * extent
        for axis in range(2, 2 + rank):
            made = made.narrow(axis, (made.shape[axis] - side) // 2, side)
        out.append(made)
    return torch.cat(out)


def mosaic(tiles: Float[Tensor, "K 3 h w"], gap: int = 1) -> Float[Tensor, "3 H W"]:
    """Tiles in rows of 32 on a light grey background."""
    rows = -(-len(tiles) // COLUMNS)
    height, width = tiles.shape[2] + gap, tiles.shape[3] + gap
    out = torch.full((3, rows * height + gap, COLUMNS * width + gap), 0.8)
    for i, tile in enumerate(tiles):
        top, left = i // COLUMNS * height + gap, i % COLUMNS * width + gap
        out[:, top : top + height - gap, left : left + width - gap] = tile
    return out


def by_pitch(spectra: Float[Tensor, "K F"]) -> Float[Tensor, "3 F K"]:
    """Spectra side by side, quiet ones first, then by the centroid of their energy from low to high."""
    level = (spectra + 0.5).clamp(0, 2)  # silence is 0
    bins = torch.arange(spectra.shape[1], dtype=torch.float32)
    centre = (level * bins).sum(dim=1) / level.sum(dim=1).clamp(min=1e-6)
    quiet = level.mean(dim=1) < 0.05 * level.mean()
    order = torch.where(quiet, -1.0, centre).argsort(stable=True)
    return heat((level[order] / level.max().clamp(min=1e-6)).t().flip(0))


def heat(values: Float[Tensor, "H W"]) -> Float[Tensor, "3 H W"]:
    """Colour map of values in [0, 1], from dark blue over red to pale yellow with increasing brightness."""
    stops = torch.tensor([[8, 8, 40], [72, 20, 110], [172, 44, 96], [240, 110, 46], [252, 246, 170]]) / 255
    place = values.clamp(0, 1) * (len(stops) - 1)
    low = place.floor().long().clamp(max=len(stops) - 2)
    share = (place - low)[..., None]
    return (stops[low] * (1 - share) + stops[low + 1] * share).permute(2, 0, 1)
