"""How loud a sound is, whatever its gain, and the gain that brings it to the loudness of speech."""

from jaxtyping import Float
from torch import Tensor

BLOCK_S = 0.02
QUANTILE = 0.9  # of the blocks: those that speak, without a click
SPEECH = 0.12  # the median over the 10,000 clips of the emoji set, of which 0.045 is the least and 0.26 the most
HEARD = (0.03, 0.5)  # what models over codes take as it is


def loudness(channel: Float[Tensor, " T"], sample_rate_hz: int) -> float:
    """The root mean square of the loud parts of one channel, in its own units; 0 for a constant one.

    The mean is taken off first. The 90 % quantile over blocks of 20 ms that are not digital silence: neither pauses
    nor single clipped samples move it, and it grows with the gain exactly.
    """
    moving = channel.double() - channel.double().mean()
    block = min(len(moving), max(1, round(BLOCK_S * sample_rate_hz)))
    whole = moving[: len(moving) // block * block].view(-1, block)
    alive = (channel[: whole.numel()].view(-1, block) != 0).any(1)
    strengths = whole[alive].square().mean(1).sqrt() if bool(alive.any()) else moving.square().mean()[None].sqrt()
    return float(strengths.sort().values[round(QUANTILE * (len(strengths) - 1))])


def gain_to_be_heard(channel: Float[Tensor, " T"], sample_rate_hz: int) -> float:
    """What to multiply a sound with so that a model over codes hears it: 1 in the range of speech, and for silence."""
    own = loudness(channel, sample_rate_hz)
    return 1.0 if own == 0 or HEARD[0] <= own <= HEARD[1] else SPEECH / own
