"""Noise that is correlated between the channels of a picture, and its decorrelation."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.gaussian.noise_level import estimate_noise

BLOCK = 16  # side of a block, in diagonal details
SHARE = 0.25  # fraction of the blocks, the quietest ones, that is used
UNEQUAL = 1.2  # ratio of the largest to the mean noise over directions of colour up to which it counts as independent
FAINT = 1 / 255  # lower estimates are texture


def channel_noise(picture: Float[Tensor, "C H W"]) -> tuple[Float[Tensor, "C C"], Float[Tensor, " C"]]:
    """Directions of colour (rows, of length 1) in which the noise is uncorrelated, and its standard deviations.

    The directions are the eigenvectors of the covariance of diagonal differences in the quietest blocks; the standard
    deviations are `estimate_noise` of the projected picture. JPEG with chroma subsampling leaves fine noise along grey
    alone.
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
    """Decorrelate noise that is shared by colour channels, by adding noise in the directions of colour that have less.

    A prior that was trained on independent noise takes equal noise in all channels for texture. The result has
    independent noise of equal strength in all directions: a grey picture in three equal channels becomes one of sqrt(3)
    times the noise. Pictures whose noise is independent are returned unchanged.

    Args:
        picture: Picture in [0, 1].
        sigma: Noise level of the picture; None estimates it.
        generator: Draws the added noise.
        judged: Part of the picture to estimate the noise from; all of it by default.

    Returns:
        The picture, its noise level before, as a mean over channels, and the factor by which the noise has grown.
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
