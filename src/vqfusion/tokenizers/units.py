"""Standardisation of data in any unit to mean 0 and standard deviation 1, and back."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens

FAR = 1000.0  # standard deviations from zero


def moments(data: Float[Tensor, "C ..."]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and standard deviation of each channel; the latter is 1 where the channel is constant."""
    flat = data.flatten(1).double()
    std = flat.std(dim=1, correction=0)
    return flat.mean(dim=1).float(), torch.where(std > 1e-12, std, 1.0).float()


def standardised(
    data: Float[Tensor, "C ..."], offset: Float[Tensor, " C"], scale: Float[Tensor, " C"]
) -> Float[Tensor, "C ..."]:
    """Standardise `data` channel by channel, in float32.

    Args:
        data: Values in any unit.
        offset: Mean of each channel.
        scale: Standard deviation of each channel.

    Returns:
        `(data - offset) / scale`.
    """
    shape = (-1, *[1] * (data.ndim - 1))
    return ((data - offset.view(shape)) / scale.view(shape)).float()


def restored(sample: Sample, tokens: Tokens) -> Sample:
    """Inverse of `standardised` with the offset and scale of the tokens; unchanged where they have none.

    Computed in float64 where the offset is so much larger than the scale that float32 would round the values away.
    """
    if tokens.offset is None or tokens.scale is None:
        return sample
    shape = (-1, *[1] * (sample.data.ndim - 1))
    offset, scale = tokens.offset.to(sample.data), tokens.scale.to(sample.data)
    if bool((offset.abs() > FAR * scale).any()) and sample.data.device.type != "mps":
        sample, offset, scale = replace(sample, data=sample.data.double()), offset.double(), scale.double()
    return replace(sample, data=sample.data * scale.view(shape) + offset.view(shape))


def standardised_loss(vqvae: VQVAE, x: Float[Tensor, "B C ..."]) -> tuple[Tensor, dict[str, Tensor]]:
    """Training loss on standardised data: mean squared error plus the quantizer's loss; reports the SNR in dB."""
    out = vqvae(x)
    mse = F.mse_loss(out.signal.float(), x)
    snr = 10 * (x.square().mean() / mse.detach()).log10()
    return mse + out.codes.loss, {"snr_db": snr, "perplexity": out.codes.perplexity, "usage": out.codes.usage}
