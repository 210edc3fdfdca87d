"""Data in any unit, taken to mean 0 and deviation 1 for a network, and back."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.types import Sample, Tokens

FAR = 1000.0  # deviations from zero


def moments(data: Float[Tensor, "C ..."]) -> tuple[Float[Tensor, " C"], Float[Tensor, " C"]]:
    """Mean and standard deviation of each channel, 1 where it is constant."""
    flat = data.flatten(1).double()
    deviation = flat.std(dim=1, correction=0)
    return flat.mean(dim=1).float(), torch.where(deviation > 1e-12, deviation, 1.0).float()


def standardised(
    data: Float[Tensor, "C ..."], offset: Float[Tensor, " C"], scale: Float[Tensor, " C"]
) -> Float[Tensor, "C ..."]:
    """`(data - offset) / scale`, channel by channel, in float32."""
    shape = (-1, *[1] * (data.ndim - 1))
    return ((data - offset.view(shape)) / scale.view(shape)).float()


def restored(sample: Sample, tokens: Tokens) -> Sample:
    """The sample in the unit that its tokens remember; as it is where they remember none.

    In float64 where a channel is so far from zero that float32 would round away what the codes say.
    """
    if tokens.offset is None or tokens.scale is None:
        return sample
    shape = (-1, *[1] * (sample.data.ndim - 1))
    offset, scale = tokens.offset.to(sample.data), tokens.scale.to(sample.data)
    if bool((offset.abs() > FAR * scale).any()) and sample.data.device.type != "mps":
        sample, offset, scale = replace(sample, data=sample.data.double()), offset.double(), scale.double()
    return replace(sample, data=sample.data * scale.view(shape) + offset.view(shape))


def standardised_loss(vqvae: VQVAE, x: Float[Tensor, "B C ..."]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean squared error in units of the deviation plus the quantizer's loss; the report has its signal-to-noise."""
    out = vqvae(x)
    mse = F.mse_loss(out.signal.float(), x)
    snr = 10 * (x.square().mean() / mse.detach()).log10()
    return mse + out.codes.loss, {"snr_db": snr, "perplexity": out.codes.perplexity, "usage": out.codes.usage}
