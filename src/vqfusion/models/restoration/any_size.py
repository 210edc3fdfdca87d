"""A prior applied to signals of any size and number of channels, in bounded memory."""

from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.diffusion.posterior.question import Levels
from vqfusion.models.restoration.prior import Prior, reflect_to_multiple
from vqfusion.nn.arithmetic import Arithmetic, timed
from vqfusion.nn.bfloat16 import has_bfloat16
from vqfusion.nn.blocks import cropped
from vqfusion.nn.tiles import MOST_ELEMENTS, run_local

TRIAL_SIDE = {1: 2**15, 2: 160, 3: 32}  # positions of the signal of a trial, by rank
SAVED = 0.8  # fraction of the time of float32 that bfloat16 must stay below
_PAYS: WeakKeyDictionary[Prior, bool] = WeakKeyDictionary()


class AnySizePrior:
    """`RestorationPrior` that applies a prior to signals of `channels` channels and of any size, in tiles.

    The receptive field of the network is bounded, so tiles with margins of `receptive_radius` have no seams. Where
    gradients are recorded, the signal is processed whole. Signals of more than `fast_from` positions are computed in
    bfloat16 on processors where a trial of this network shows that it saves a fifth of the time; at most 0.004 dB lower
    (docs/restoring.md).

    A grey prior restores colour channel by channel. A prior of n channels restores grey as n equal channels. If it has
    not learned grey, it would take equal noise for texture, so noise between the channels is added: grey noise of sigma
    together with it makes independent noise of sigma sqrt(n) in every channel. The added noise depends only on the
    position.

    Args:
        prior: The prior.
        channels: Channels of the signals; by default those of the prior.
        most: Largest number of positions per network call.
        fast_from: Number of positions above which bfloat16 is used.
    """

    def __init__(
        self,
        prior: Prior,
        channels: int | None = None,
        most: int = MOST_ELEMENTS,
        fast_from: int = MOST_ELEMENTS,
    ):
        self.prior, self.channels, self.most = prior, channels or prior.config.channels, most
        self.fast_from = fast_from if has_bfloat16() else None
        widened = self.channels == 1 and "grey" not in prior.config.learned
        self._spread = prior.config.channels**0.5 if widened else 1.0

    @property
    def sigma_range(self) -> tuple[float, float]:
        """Range of noise levels that the prior was trained for, for signals of `channels` channels."""
        low, high = self.prior.sigma_range
        return low / self._spread, high / self._spread

    @property
    def learned(self) -> tuple[str, ...]:
        """What the prior was trained on beside white noise of one level, see `PriorConfig`."""
        return self.prior.config.learned

    def denoise(self, x: Float[Tensor, "B C ..."], sigma: Levels) -> Float[Tensor, "B C ..."]:
        """E[data | data + sigma noise = x] for x `[B, C, *size]`; `sigma` as in `Prior.denoise`.

        Raises:
            ValueError: x has another number of channels.
        """
        wanted = self.prior.config.channels
        if x.shape[1] != self.channels:
            raise ValueError(f"this prior was adapted to {self.channels} channels, not {x.shape[1]}")
        levels = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
        levels = levels.expand(len(x)) if levels.ndim < 2 else levels.expand(len(x), -1, *x.shape[2:])
        if self.channels == wanted:
            return self._tiled(x, levels)
        if wanted == 1:
            each = levels.repeat_interleave(self.channels) if levels.ndim == 1 else levels.expand_as(x).flatten(0, 1)
            made = self._tiled(x.flatten(0, 1)[:, None], each if levels.ndim == 1 else each[:, None])
            return made[:, 0].unflatten(0, (-1, self.channels))
        if self.channels != 1:
            return self.prior.denoise(x, levels)  # says what it takes
        if self._spread == 1.0:
            return self._tiled(x.expand(-1, wanted, *x.shape[2:]), levels).mean(dim=1, keepdim=True)
        between = torch.randn(wanted, *x.shape[2:], generator=torch.Generator().manual_seed(0))
        between = (between - between.mean(dim=0)).to(x)
        levels = levels * self._spread
        wide = x + levels.reshape(*levels.shape, *[1] * (x.ndim - levels.ndim)) * between
        return self._tiled(wide, levels).mean(dim=1, keepdim=True)

    def _tiled(self, x: Float[Tensor, "B C ..."], levels: Tensor) -> Float[Tensor, "B C ..."]:
        if x[:, 0].numel() <= self.most or (torch.is_grad_enabled() and x.requires_grad):
            return self.prior.denoise(x, levels)
        size, multiple = x.shape[2:], self.prior.multiple
        channels, mapped = x.shape[1], levels.ndim > 1
        whole = reflect_to_multiple(torch.cat([x, levels], dim=1) if mapped else x, multiple)

        large = x.device.type == "cpu" and self.fast_from is not None and x[0, 0].numel() > self.fast_from
        way = Arithmetic(bfloat16=large and bfloat16_pays(self.prior))

        def denoise(part: Tensor, rows: slice) -> Tensor:
            with way.autocast(x.device.type):
                return self.prior.denoise(part[:, :channels], part[:, channels:] if mapped else levels[rows])

        made = run_local(denoise, whole, self.prior.receptive_radius, multiple, self.most)
        return cropped(made, size)


@torch.no_grad()
def bfloat16_pays(prior: Prior) -> bool:
    """Whether bfloat16 saves a fifth of the time of a prior on this processor, tried once for half a second.

    Processors that have bfloat16 are not all faster in it: see docs/decisions.md.
    """
    if prior not in _PAYS:
        config = prior.config
        x = torch.full((1, config.channels, *[TRIAL_SIDE[config.rank]] * config.rank), 0.5)
        times = []
        for way in (Arithmetic(), Arithmetic(bfloat16=True)):

            def run(way: Arithmetic = way) -> None:
                with way.autocast("cpu"):
                    prior.denoise(x, 0.1)

            times.append(timed(run, x.device, 0.15))
        _PAYS[prior] = times[1] < SAVED * times[0]
    return _PAYS[prior]
