"""Loudness of a sound, and the gain that brings it to the loudness of speech."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.data.io.sound import mixed
from vqfusion.data.transforms import resample
from vqfusion.types import Sample

BLOCK_S = 0.02
LONG = 2**24  # samples above which a sound is measured in parts
QUANTILE = 0.9  # over blocks: excludes pauses as well as single clicks
SPEECH = 0.12  # median over the 10,000 clips of the emoji set, whose range is 0.045 to 0.26
HEARD = (0.03, 0.5)  # loudness that models over codes accept without a gain


def loudness(channel: Float[Tensor, " T"], sample_rate_hz: int) -> float:
    """Root mean square of the loud parts of one channel, in its own units; 0 for a constant one.

    It is the 90 % quantile over blocks of 20 ms without digital silence, after the mean is subtracted. Neither pauses
    nor single clipped samples change it, and it is exactly proportional to the gain.
    """
    block = min(len(channel), max(1, round(BLOCK_S * sample_rate_hz)))
    if len(channel) > LONG:  # in parts, which need less memory
        parts = channel[: len(channel) // block * block].view(-1, block).split(LONG // block)
        mean = sum(float(part.double().sum()) for part in parts) / sum(part.numel() for part in parts)
        moved = [(part[(part != 0).any(1)].double() - mean).square().mean(1).sqrt() for part in parts]
        strengths = torch.cat(moved) if sum(map(len, moved)) else torch.zeros(1)
        return float(strengths.sort().values[round(QUANTILE * (len(strengths) - 1))])
    moving = channel.double() - channel.double().mean()
    whole = moving[: len(moving) // block * block].view(-1, block)
    alive = (channel[: whole.numel()].view(-1, block) != 0).any(1)
    strengths = whole[alive].square().mean(1).sqrt() if bool(alive.any()) else moving.square().mean()[None].sqrt()
    return float(strengths.sort().values[round(QUANTILE * (len(strengths) - 1))])


def gain_to_be_heard(channel: Float[Tensor, " T"], sample_rate_hz: int) -> float:
    """Factor that makes a sound loud enough for a model over codes: 1 within the range of speech, and for silence."""
    own = loudness(channel, sample_rate_hz)
    return 1.0 if own == 0 or HEARD[0] <= own <= HEARD[1] else SPEECH / own


def as_heard(sample: Sample, sample_rate_hz: int) -> Float[Tensor, "1 T"]:
    """A sound as models over codes take it, in training and in use: one channel at their rate, as loud as speech."""
    sound = mixed(resample(sample, sample_rate_hz)).data.float()
    return sound * gain_to_be_heard(sound[0], sample_rate_hz)
