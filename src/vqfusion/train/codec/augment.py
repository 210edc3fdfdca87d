"""Data augmentation of pictures and sounds; all randomness comes from a given generator."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def vary_picture(
    picture: Float[Tensor, "C H W"], generator: torch.Generator, keep_meaning: bool = False
) -> Float[Tensor, "C H W"]:
    """Augment a picture: size +-10 %, shift by up to an eighth, and sometimes noise.

    Args:
        picture: Picture in [0, 1].
        generator: Random generator.
        keep_meaning: Avoid changes that a name could contradict. False also flips and permutes colour channels; True
            also rotates and shears slightly and changes saturation and gamma.

    Returns:
        The picture.
    """
    if keep_meaning:
        picture = _other_light(_turned(picture, generator), generator)
    zoom, flip, hue, noisy = torch.rand(4, generator=generator).tolist()
    channels, height, width = picture.shape
    size = [max(2, round(n * (0.9 + 0.2 * zoom))) for n in (height, width)]
    picture = F.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]
    reach = max(1, height // 8)
    margin = [reach + max(0, n - m) for n, m in ((width, size[1]), (height, size[0]))]
    padded = F.pad(picture[None], (margin[0], margin[0], margin[1], margin[1]), mode="replicate")[0]
    free = [padded.shape[1] - height, padded.shape[2] - width]
    top, left = (int(torch.randint(n + 1, (1,), generator=generator)) for n in free)
    picture = padded[:, top : top + height, left : left + width]
    if not keep_meaning and flip < 0.5:
        picture = picture.flip(2)
    if not keep_meaning and hue < 0.3:
        picture = picture[torch.randperm(channels, generator=generator)]
    if noisy < 0.15:
        sigma = 0.12 * torch.rand(1, generator=generator)
        picture = (picture + sigma * torch.randn(picture.shape, generator=generator)).clamp(0, 1)
    return picture


def _turned(picture: Float[Tensor, "C H W"], generator: torch.Generator) -> Float[Tensor, "C H W"]:
    """Rotate by up to 12 degrees, scale each axis by 0.8 to 1.15 and shear by up to 0.1; the border is repeated."""
    turn, wide, high, slant = torch.rand(4, generator=generator).tolist()
    angle = math.radians(24 * (turn - 0.5))
    rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shape = torch.tensor([[1 / (0.8 + 0.35 * wide), 0.2 * (slant - 0.5)], [0.0, 1 / (0.8 + 0.35 * high)]])
    affine = torch.cat([rotation @ shape, torch.zeros(2, 1)], dim=1)
    grid = F.affine_grid(affine[None], [1, *picture.shape], align_corners=False)
    return F.grid_sample(picture[None], grid, padding_mode="border", align_corners=False)[0]


def _other_light(picture: Float[Tensor, "C H W"], generator: torch.Generator) -> Float[Tensor, "C H W"]:
    """Change saturation by up to 0.3 and gamma within 0.7 to 1.4; white stays white."""
    saturation, gamma = torch.rand(2, generator=generator).tolist()
    grey = picture.mean(0, keepdim=True)
    picture = (grey + (0.7 + 0.6 * saturation) * (picture - grey)).clamp(0, 1)
    return picture ** (0.7 * 2**gamma)


def vary_frames(frames: Float[Tensor, "N F"], step: int, generator: torch.Generator) -> Float[Tensor, "M F"]:
    """Augment log-mel frames as other voices, microphones and rooms would.

    Speed +-25 %, length of the vocal tract +-14 % (Jaitly, Hinton, 2013), a smooth change of the bands and of the gain,
    sometimes noise, and stretches of time and bands that are masked (Park et al., 2019, "SpecAugment").

    Args:
        frames: Frames of `log_mel`.
        step: Multiple of which the number of frames is and stays.
        generator: Random generator.

    Returns:
        The frames.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    count, bands = frames.shape
    size = max(step, step * round(count / uniform(0.8, 1.25) / step))
    wide = F.interpolate(frames.T[None].float(), size, mode="linear", align_corners=False)[0].T
    place = torch.arange(bands) * uniform(0.86, 1.14)
    low = place.floor().clamp(max=bands - 1).long()
    share = place - low
    out = torch.lerp(wide[:, low], wide[:, (low + 1).clamp(max=bands - 1)], share.clamp(max=1))
    curve = F.interpolate(0.3 * torch.randn(1, 1, 5, generator=generator), bands, mode="linear", align_corners=True)
    out = out + curve[0] + uniform(-0.3, 0.3)
    if uniform(0.0, 1.0) < 0.3:
        floor = uniform(float(out.min()), float(out.mean()))
        out = torch.logaddexp(3 * out, 3 * (floor + 0.3 * torch.randn(out.shape, generator=generator))) / 3
    for axis, most in ((0, 0.15), (0, 0.15), (1, 0.2), (1, 0.2)):
        length = out.shape[axis]
        masked = int(uniform(0.0, most * length + 1.0))
        start = int(uniform(0.0, length - masked + 1.0))
        out.narrow(axis, min(start, length - masked), masked).zero_()
    return out


def vary_sound(
    sound: Float[Tensor, "1 T"], length: int, generator: torch.Generator, crop: bool = True
) -> Float[Tensor, "1 T2"]:
    """Augment a sound: speed and pitch +-15 %, loudness +-6 dB, spectral tilt, and sometimes noise.

    Args:
        sound: Sound in [-1, 1].
        length: Length of the crop in samples.
        generator: Random generator.
        crop: Take a random crop, padded with silence; False returns the whole sound.

    Returns:
        The sound.
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
