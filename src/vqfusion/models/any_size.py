"""A prior for signals of any size and number of channels, in bounded memory."""

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.models.prior import Prior, reflect_to_multiple
from vqfusion.nn.tiles import MOST_ELEMENTS, run_local


class AnySizePrior:
    """The `RestorationPrior` of a prior, where large signals go through in tiles; the result is that of the whole.

    A network without statistics sees `receptive_radius` positions to each side, so tiles with such margins have no
    seams. Colour is restored by a prior of grey channel by channel; grey by a prior of colour as three equal
    channels, of which the mean is taken. Where gradients are recorded the signal goes through whole.
    """

    def __init__(self, prior: Prior, most: int = MOST_ELEMENTS):
        self.prior, self.most = prior, most

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.prior.sigma_range

    def denoise(
        self, x: Float[Tensor, "B C ..."], sigma: float | Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C ..."]:
        """E[data | data + sigma noise = x] for x `[B, C, *size]`; None lets the network see the level by itself."""
        given, wanted = x.shape[1], self.prior.config.channels
        levels = None if sigma is None else torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))
        if given == wanted:
            return self._tiled(x, levels)
        if given == 1:
            return self._tiled(x.expand(-1, wanted, *x.shape[2:]), levels).mean(dim=1, keepdim=True)
        if wanted == 1:
            each = None if levels is None else levels.repeat_interleave(given)
            return self._tiled(x.flatten(0, 1)[:, None], each)[:, 0].unflatten(0, (-1, given))
        return self.prior.denoise(x, levels)  # says what it takes

    def _tiled(self, x: Float[Tensor, "B C ..."], levels: Float[Tensor, " B"] | None) -> Float[Tensor, "B C ..."]:
        if x[:, 0].numel() <= self.most or (torch.is_grad_enabled() and x.requires_grad):
            return self.prior.denoise(x, levels)
        size, multiple = x.shape[2:], self.prior.multiple
        whole = reflect_to_multiple(x, multiple)

        def denoise(part: Tensor, rows: slice) -> Tensor:
            return self.prior.denoise(part, None if levels is None else levels[rows])

        made = run_local(denoise, whole, self.prior.receptive_radius, multiple, self.most)
        return made[(..., *(slice(n) for n in size))]
