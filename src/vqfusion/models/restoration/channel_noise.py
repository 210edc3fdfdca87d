"""Noise that the channels of a picture share, and how to make it independent."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import estimate_noise

BLOCK = 16  # diagonal details to a side of a block
SHARE = 0.25  # of the blocks, the quietest, count
UNEQUAL = 1.2  # how much stronger than on average noise may be along one direction of colour and pass for independent
FAINT = 1 / 255  # below this, what is measured is texture


def channel_noise(picture: Float[Tensor, "C H W"]) -> tuple[Float[Tensor, "C C"], Float[Tensor, " C"]]:
    """Directions of colour (rows, of length 1) along which the noise is uncorrelated, and its deviation along each.

    The directions are those of the covariance of diagonal differences in the quietest blocks; the deviations are
    `estimate_noise` of the picture seen along them. JPEG that halves its colours leaves fine noise along grey alone.
    """
    y = picture.double()[:, : picture.shape[1] // 2 * 2, : picture.shape[2] // 2 * 2]
    details = (y[:, ::2, ::2] - y[:, 1::2, ::2] - y[:, ::2, 1::2] + y[:, 1::2, 1::2]) / 2
    side = min(BLOCK, *details.shape[1:])
    blocks = details.unfold(1, side, side).unfold(2, side, side).flatten(3).flatten(1, 2).movedim(1, 0)
    covariances = blocks @ blocks.mT / blocks.shape[2]
    strength = covariances.diagonal(dim1=1, dim2=2).sum(1)
    quiet = strength.argsort()[: max(1, round(SHARE * len(strength)))]
    directions = torch.linalg.eigh(covariances[quiet].mean(0)).eigenvectors.mT.to(picture)
    seen = torch.einsum("dc,chw->dhw", directions, picture)
    return directions, estimate_noise(seen[:, None])


def independent_noise(
    picture: Float[Tensor, "C H W"], sigma: float | None, generator: torch.Generator, judged: Tensor | None = None
) -> tuple[Float[Tensor, "C H W"], float, float]:
    """The picture with noise added where it has less than in its noisiest direction of colour; the deviation of its
    own noise (that of `sigma`, if given), a mean over the channels; and how many times as strong it is now.

    A prior that was trained on independent noise takes the same noise in all channels for texture. What comes out has
    independent noise of the same strength everywhere: a grey picture in three equal channels becomes one of sqrt(3)
    the noise. Pictures whose noise is independent already come back as they are, 1 time as strong. The noise is read
    off `judged` `[C, h, w]`, a part of the picture, if given.
    """
    directions, levels = channel_noise(picture if judged is None else judged)
    own = float(levels.square().mean().sqrt())
    strongest = float(levels.max())
    if own < FAINT or strongest < UNEQUAL * own:
        return picture, own if sigma is None else sigma, 1.0
    told = 1.0 if sigma is None else sigma / own
    missing = told * (strongest**2 - levels.square()).clamp(min=0).sqrt()
    noise = missing[:, None, None] * torch.randn(picture.shape, generator=generator).to(picture)
    return picture + torch.einsum("dc,dhw->chw", directions, noise), told * own, strongest / own
