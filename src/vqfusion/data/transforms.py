"""Transforms of pictures and sounds: resizing, resampling, noise and gaps."""

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
    """Resize a picture in [0, 1] to `size` (height, width; one number for both), still in [0, 1].

    The mean over blocks where both sides are divided by an integer, else bicubic with antialiasing.

    Raises:
        UserError: The size is not positive.
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
    """Centre a picture on a white square as large as its longer side."""
    height, width = image.shape[1:]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return functional.pad(image, (left, side - width - left, top, side - height - top), value=1.0)


def fit_picture(image: Float[Tensor, "C H W"], size: int) -> Float[Tensor, "3 S S"]:
    """Convert any picture to the colour square that networks take: resized, grey repeated, padded with white.

    Resized before padding, because the square around a long thin picture can be a thousand times its size.
    """
    longer = max(image.shape[1:])
    height, width = (max(1, round(side * size / longer)) for side in image.shape[1:])
    return pad_to_square(resize_picture(image, (height, width)).expand(3, -1, -1))


def resample(sound: Sample, sample_rate_hz: int) -> Sample:
    """Resample a sound `[C, T]` (libsoxr, high quality) to `round(T * new / old)` samples.

    Raises:
        UserError: The sound has no sample rate, or the new one is not positive.
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
    """Add Gaussian noise: `data + sigma * n` with n standard normal, not clipped.

    Args:
        data: Data in any unit.
        sigma: Standard deviation in the units of the data; 25/255 for "noise 25" of a picture in [0, 1].
        generator: Random generator.

    Returns:
        Noisy data.
    """
    noise = torch.randn(data.shape, generator=generator, dtype=data.dtype, device=generator.device)
    return data + sigma * noise.to(data.device)


def add_noise_at_snr(
    sound: Float[Tensor, "1 T"],
    snr_db: float,
    generator: torch.Generator,
    noise: Float[Tensor, "1 N"] | None = None,
) -> Float[Tensor, "1 T"]:
    """Add noise with a power `snr_db` decibels below that of the sound; not clipped.

    Args:
        sound: Sound; silence is returned unchanged.
        snr_db: Signal-to-noise ratio.
        generator: Random generator.
        noise: Noise of which a random stretch is added, repeated where it is too short; white noise by default.

    Returns:
        Noisy sound.

    Raises:
        UserError: `noise` is silent.
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
    """Silence blocks of samples at random, as lost packets do.

    Args:
        sound: Sound.
        gap: Length of a block in samples.
        share: Probability that a block is lost.
        generator: Random generator.

    Returns:
        The sound with zeros in the gaps, and a mask that is True where it is real.
    """
    blocks = -(-sound.shape[1] // gap)
    kept = torch.rand(1, blocks, generator=generator, device=generator.device) >= share
    mask = kept.to(sound.device).repeat_interleave(gap, 1)[:, : sound.shape[1]]
    return sound * mask, mask
