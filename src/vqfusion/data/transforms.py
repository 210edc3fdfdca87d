"""What training does to pictures and sounds: sizes, noise and gaps."""

from dataclasses import replace

import numpy as np
import soxr
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from vqfusion.errors import UserError
from vqfusion.types import Sample


def resize_picture(image: Float[Tensor, "C H W"], size: int | tuple[int, int]) -> Float[Tensor, "C h w"]:
    """A picture in [0, 1] at `size` (height, width; one number for both), still in [0, 1].

    The mean over blocks (area) where both sides shrink by a whole number, else bicubic with antialiasing.
    Raises UserError if the size is not positive.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise UserError(f"a picture cannot be {height} x {width} pixels; give positive numbers")
    if (height, width) == tuple(image.shape[1:]):
        return image
    if image.shape[1] % height == 0 and image.shape[2] % width == 0:
        return functional.interpolate(image[None], (height, width), mode="area")[0]
    out = functional.interpolate(image[None], (height, width), mode="bicubic", antialias=True)[0]
    return out.clamp(0, 1)


def pad_to_square(image: Float[Tensor, "C H W"]) -> Float[Tensor, "C S S"]:
    """The picture in the middle of a white square as large as its longer side."""
    height, width = image.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return functional.pad(image, (left, side - width - left, top, side - height - top), value=1.0)


def fit_picture(image: Float[Tensor, "C H W"], size: int) -> Float[Tensor, "3 S S"]:
    """Any picture as the colour square that networks take: resized to fit, grey repeated, padded with white.

    Resized first: a square around a long and thin picture can be a thousand times its size.
    """
    longer = max(image.shape[1:])
    height, width = (max(1, round(side * size / longer)) for side in image.shape[1:])
    return pad_to_square(resize_picture(image, (height, width)).expand(3, -1, -1))


def resample(sound: Sample, sample_rate_hz: int) -> Sample:
    """The same sound `[C, T]` at another rate (libsoxr, high quality), `round(T * new / old)` samples.

    Raises UserError if the sound has no rate, or the new one is not positive.
    """
    old = sound.sample_rate_hz
    if not old or sample_rate_hz <= 0:
        raise UserError(f"cannot resample from {old} to {sample_rate_hz} Hz; give positive rates")
    if sample_rate_hz == old:
        return sound
    length = max(1, round(sound.data.shape[1] * sample_rate_hz / old))
    channels = [soxr.resample(channel.numpy(), old, sample_rate_hz)[:length] for channel in sound.data.detach().cpu()]
    data = np.stack([np.pad(channel, (0, length - len(channel))) for channel in channels])
    return replace(sound, data=torch.from_numpy(data).to(sound.data.dtype), sample_rate_hz=sample_rate_hz)


def add_noise(data: Float[Tensor, "..."], sigma: float, generator: torch.Generator) -> Float[Tensor, "..."]:
    """`data + sigma * n` with n standard normal; not clipped, so that the noise stays Gaussian.

    `sigma` is in the units of the data: a picture in [0, 1] with "noise 25" has 25/255.
    """
    noise = torch.randn(data.shape, generator=generator, dtype=data.dtype, device=generator.device)
    return data + sigma * noise.to(data.device)


def add_noise_at_snr(
    sound: Float[Tensor, "1 T"],
    snr_db: float,
    generator: torch.Generator,
    noise: Float[Tensor, "1 N"] | None = None,
) -> Float[Tensor, "1 T"]:
    """The sound plus noise whose power is `snr_db` decibels below that of the sound; not clipped.

    The noise is white, or a stretch of `noise` from a random place (repeated where it is too short). Silence
    is given back as it is. Raises UserError if `noise` is silent.
    """
    length = sound.shape[1]
    if noise is None:
        noise = torch.randn(sound.shape, generator=generator, dtype=sound.dtype, device=generator.device)
    else:
        start = torch.randint(noise.shape[1], (1,), generator=generator, device=generator.device)
        noise = noise.roll(-int(start), 1).repeat(1, -(-length // noise.shape[1]))[:, :length]
    noise = noise.to(sound)
    power = noise.square().mean()
    if power == 0:
        raise UserError("the noise to add is silent; give noise that can be heard")
    return sound + noise * (sound.square().mean() / power * 10 ** (-snr_db / 10)).sqrt()


def cut_gaps(
    sound: Float[Tensor, "1 T"], gap: int, share: float, generator: torch.Generator
) -> tuple[Float[Tensor, "1 T"], Bool[Tensor, "1 T"]]:
    """Silence whole blocks of `gap` samples, each with probability `share`, as lost packets do.

    Gives the sound with zeros in the gaps, and the mask, True where the sound is real.
    """
    blocks = -(-sound.shape[1] // gap)
    kept = torch.rand(1, blocks, generator=generator, device=generator.device) >= share
    mask = kept.to(sound.device).repeat_interleave(gap, 1)[:, : sound.shape[1]]
    return sound * mask, mask
