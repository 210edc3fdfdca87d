"""Random views of pictures and sounds for the training of tokenizers; every draw from a given generator."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def vary_picture(picture: Float[Tensor, "C H W"], generator: torch.Generator) -> Float[Tensor, "C H W"]:
    """Flip, shift by up to an eighth, shuffle the colours now and then, and add noise now and then."""
    flip, hue, noisy = torch.rand(3, generator=generator).tolist()
    height, width = picture.shape[1:]
    reach = max(1, height // 8)
    dy, dx = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    padded = F.pad(picture[None], (reach,) * 4, mode="replicate")[0]
    picture = padded[:, dy : dy + height, dx : dx + width]
    if flip < 0.5:
        picture = picture.flip(2)
    if hue < 0.3:
        picture = picture[torch.randperm(len(picture), generator=generator)]
    if noisy < 0.15:
        sigma = 0.12 * torch.rand(1, generator=generator)
        picture = (picture + sigma * torch.randn(picture.shape, generator=generator)).clamp(0, 1)
    return picture


def vary_sound(
    sound: Float[Tensor, "1 T"], length: int, generator: torch.Generator, crop: bool = True
) -> Float[Tensor, "1 T2"]:
    """Another speed and pitch (+-15 %), loudness (+-6 dB), spectral tilt, and noise now and then.

    With `crop` the result is a random stretch of `length` samples, padded with silence; without, the whole sound.
    """
    speed, gain, tilt, noisy, place = (torch.rand(5, generator=generator) * 2 - 1).tolist()
    changed = F.interpolate(sound[None], scale_factor=1 / (1 + 0.15 * speed), mode="linear")[0]
    tilted = changed[:, 1:] - 0.4 * tilt * changed[:, :-1]  # first-order pre- or de-emphasis
    out = tilted * 10 ** (6 * gain / 20)
    if noisy > 0.7:
        level = 10 ** (-(5 + 15 * (noisy - 0.7) / 0.3) / 20) * out.square().mean().sqrt()
        out = out + level * torch.randn(out.shape, generator=generator)
    out = out.clamp(-1, 1)
    if not crop:
        return out
    if out.shape[1] < length:
        before = int((length - out.shape[1]) * (place + 1) / 2)
        return F.pad(out, (before, length - out.shape[1] - before))
    start = int((out.shape[1] - length) * (place + 1) / 2)
    return out[:, start : start + length]
