"""Transparent pictures: the background that a prior is shown, and the way back."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FULL = 0.25  # opacity above which colours are shown unchanged


@dataclass(frozen=True)
class Backdrop:
    """A transparent picture over a background that continues its visible colours, so that the prior sees no edge there.

    `shown` is `share` times the colours plus `1 - share` times the `backdrop`. The share is 1 for opaque pixels and
    falls to 0 for invisible ones, whose colours therefore have no effect.
    """

    shown: Float[Tensor, "C H W"]
    backdrop: Float[Tensor, "C H W"]
    colours: Float[Tensor, "C H W"]
    share: Float[Tensor, "1 H W"]

    @classmethod
    def of(cls, colours: Float[Tensor, "C H W"], alpha: Float[Tensor, "1 H W"]) -> "Backdrop":
        """Build the background of a picture with opacity `alpha` in [0, 1]."""
        share = _share(alpha)
        light = colours * share
        shown = _continued(light[None], share[None])[0]
        backdrop = torch.where(share < 1, (shown - light) / (1 - share).clamp(min=1e-6), shown)
        return cls(shown, backdrop, colours, share)

    def removed(self, restored: Float[Tensor, "C h w"], alpha: Float[Tensor, "1 h w"]) -> Float[Tensor, "C h w"]:
        """Remove the background from a restored picture; `alpha` is the opacity at its size.

        Where the size is unchanged, invisible pixels keep their original colours.
        """
        if restored.shape == self.shown.shape:
            change = (restored - self.shown) / self.share.clamp(min=1e-6)
            return torch.where(self.share > 0, self.colours + change, self.colours)
        share = _share(alpha)
        backdrop = F.interpolate(self.backdrop[None], restored.shape[1:], mode="bicubic")[0]
        seen = (restored - (1 - share) * backdrop) / share.clamp(min=1e-6)
        return torch.where(share > 0, seen, restored).clamp(0, 1)

    def visible_square(self, y: Float[Tensor, "C H W"]) -> Float[Tensor, "C S S"]:
        """Largest square of `y` in which the picture is shown unchanged; S may be 0."""
        full = F.pad((self.share[0] == 1).double(), (1, 0, 1, 0)).cumsum(0).cumsum(1)
        least, most = 0, min(y.shape[1:])
        corner = (0, 0)
        while least < most:
            side = (least + most + 1) // 2
            counts = full[side:, side:] - full[:-side, side:] - full[side:, :-side] + full[:-side, :-side]
            best = int(counts.argmax())
            if float(counts.flatten()[best]) == side**2:
                least, corner = side, divmod(best, counts.shape[1])
            else:
                most = side - 1
        top, left = corner
        return y[:, top : top + least, left : left + least]


def _share(alpha: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"]:
    return (alpha / FULL).clamp(max=1)


def _continued(light: Float[Tensor, "B C H W"], share: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B C H W"]:
    """Colours times their share over a smooth continuation from half the size.

    Push-pull: Gortler, Grzeszczuk, Szeliski, Cohen (1996), section 3.4.
    """
    if max(light.shape[2:]) == 1:
        return light / share.clamp(min=1e-6)
    small_light, small_share = (F.avg_pool2d(x, 2, ceil_mode=True) for x in (light, share))
    gain = (small_share / FULL).clamp(max=1) / small_share.clamp(min=1e-12)
    coarse = _continued(small_light * gain, small_share * gain)
    behind = F.interpolate(coarse, light.shape[2:], mode="bilinear", align_corners=False)
    return light + (1 - share) * behind
