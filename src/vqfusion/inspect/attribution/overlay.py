"""Attributions drawn over what was given: pictures, spectrograms, curves, slices of volumes, and pieces of texts."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.data.transforms import fit_picture, resample
from vqfusion.inspect.attribution.explaining import Attribution
from vqfusion.modalities import MODALITIES
from vqfusion.nn.spectrogram import compress_magnitude, stft
from vqfusion.tokenizers.base import BaseTokenizer
from vqfusion.types import Tokens

SIDE, STRIP = 448, 144  # pixels of a picture, and of the height of a signal over time
RAISES, LOWERS = (0.86, 0.22, 0.06), (0.10, 0.32, 0.95)  # colours of parts that raise and lower the probability
STRENGTH = 0.75  # opacity of the strongest part
FRAMES_PER_S = 100  # of the frames that models are given in place of codes


def overlay(tokenizer: BaseTokenizer, one: Attribution, most: float) -> Float[Tensor, "3 H W"] | None:
    """Picture of what was given, its parts coloured by their attribution.

    Parts that raise the probability of the answer are red, those that lower it blue, as strongly as they do. Sounds are
    spectrograms, low frequencies at the bottom; of a volume the slice with the largest attributions is shown.

    Args:
        tokenizer: Tokenizer of the slot.
        one: Attribution of the slot.
        most: Nats that get the full colour.

    Returns:
        The picture in [0, 1]; None for texts and names.
    """
    kind = MODALITIES.get(one.sample.modality)
    if kind is None or not kind.rank:
        return None
    values = one.values.float()
    data = one.sample.data.detach().float().cpu()
    if kind.pictured:
        return shaded(fit_picture(data, SIDE), values / most)
    if kind.heard:
        return shaded(_spectrogram(tokenizer, one), values[None] / most)
    if kind.rank == 1:
        return shaded(_lines(data), values[None] / most)
    deep = int(values.abs().flatten(1).sum(dim=1).argmax())
    data = data[0, int((deep + 0.5) / len(values) * data.shape[1])]
    size = [max(1, round(SIDE * n / max(data.shape))) for n in data.shape]
    low, high = data.amin(), data.amax()
    grey = F.interpolate(((data - low) / (high - low).clamp(min=1e-9))[None, None], size, mode="bilinear")[0]
    return shaded(grey, values[deep] / most)


def shaded(picture: Float[Tensor, "C H W"], values: Float[Tensor, "h w"]) -> Float[Tensor, "3 H W"]:
    """A picture in grey, coloured by values in [-1, 1] on a coarser grid over it."""
    spread = F.interpolate(values[None, None], list(picture.shape[1:]), mode="nearest-exact")[0].clamp(-1, 1)
    grey = 0.25 + 0.75 * picture.mean(dim=0, keepdim=True).expand(3, -1, -1)
    colour = torch.where(spread > 0, _colour(RAISES), _colour(LOWERS))
    return grey.lerp(colour, STRENGTH * spread.abs().expand(3, -1, -1))


def pieces(tokenizer: BaseTokenizer, ids: Int[Tensor, " N"]) -> list[str]:
    """Text that each token adds to those before it; "" for the first parts of a character."""
    found, before = [], ""
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(Tokens(ids[:end], tokenizer.codebook_size, tokenizer.modality)).data.rstrip("\ufffd")
        added = text[len(before) :] if text.startswith(before) else ""
        found.append(added)
        before = text if added else before
    return found


def map_of(values: Float[Tensor, "..."]) -> Float[Tensor, "H W"]:
    """Values of tokens as a map of squares: a sequence as a strip, of a volume the middle slice."""
    flat = values.float()
    if flat.ndim == 1:
        return flat.repeat_interleave(max(1, SIDE // len(flat)))[None].expand(STRIP // 4, -1)
    flat = flat[len(flat) // 2] if flat.ndim == 3 else flat
    cell = max(1, SIDE // max(flat.shape))
    return flat.repeat_interleave(cell, dim=0).repeat_interleave(cell, dim=1)


def _spectrogram(tokenizer: BaseTokenizer, one: Attribution) -> Float[Tensor, "1 H W"]:
    """Magnitudes of a sound in [0, 1], as long as its tokens or frames, low frequencies at the bottom."""
    rate = tokenizer.sample_rate_hz or 16000
    sound = resample(replace(one.sample, data=one.sample.data.detach().float().cpu()), rate)
    count = len(one.ids)
    seconds = count / FRAMES_PER_S if one.ids.is_floating_point() else tokenizer.seconds(count) or 0.0
    wave = sound.data.mean(dim=0, keepdim=True)
    wave = F.pad(wave, (0, max(0, round(seconds * rate) - wave.shape[1])))
    level = compress_magnitude(stft(wave, rate // 32, rate // 200)) + 0.5
    level = 1 - (level / level.amax().clamp(min=1e-9)).flip(1)
    return F.interpolate(level[None], (STRIP, SIDE), mode="bilinear")[0]


def _lines(data: Float[Tensor, "C T"]) -> Float[Tensor, "1 H W"]:
    """Curves of the channels of a series, dark on white, each from its smallest to its largest value."""
    spread = F.interpolate(data[None].nan_to_num(), SIDE, mode="linear")[0]
    low, high = spread.amin(dim=1, keepdim=True), spread.amax(dim=1, keepdim=True)
    height = ((spread - low) / (high - low).clamp(min=1e-9) * (STRIP - 1)).round().long()
    picture = torch.ones(1, STRIP, SIDE)
    for channel in height:
        for x in range(SIDE):  # from the point before it to this one
            a, b = sorted((int(channel[max(0, x - 1)]), int(channel[x])))
            picture[0, STRIP - 1 - b : STRIP - a, x] = 0
    return picture


def _colour(parts: tuple[float, float, float]) -> Float[Tensor, "3 1 1"]:
    return torch.tensor(parts)[:, None, None]
