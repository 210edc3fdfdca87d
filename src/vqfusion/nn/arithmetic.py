"""Choice of the precision and memory format in which a network runs fastest here, by trying."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from vqfusion.nn.bfloat16 import has_bfloat16

GAIN = 0.9  # fraction of the time of float32 below which another way is worth its rounding

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


@dataclass(frozen=True)
class Arithmetic:
    """A way to compute: bfloat16 autocast or float32, channels last in memory or contiguous."""

    bfloat16: bool = False
    channels_last: bool = False

    def __str__(self) -> str:
        return ("bfloat16" if self.bfloat16 else "float32") + (", channels last" if self.channels_last else "")

    @classmethod
    def of(cls, text: str) -> "Arithmetic":
        """The way that `str` named."""
        return cls("bfloat16" in text, "channels last" in text)

    def autocast(self, device: str) -> torch.autocast:
        """Autocast context of this way on a type of device."""
        return torch.autocast(device, torch.bfloat16, enabled=self.bfloat16)

    def arrange(self, network: nn.Module) -> None:
        """Lay out the kernels of convolutions for this way; their values stay."""
        for parameter in network.parameters():
            if parameter.ndim in _FORMATS:
                form = _FORMATS[parameter.ndim] if self.channels_last else torch.contiguous_format
                parameter.data = parameter.data.contiguous(memory_format=form)


def candidates(network: nn.Module, device: str) -> list[Arithmetic]:
    """Ways that can be worth trying: bfloat16 where the device multiplies in it, channels last for convolutions."""
    formats = (False, True) if any(p.ndim in _FORMATS for p in network.parameters()) else (False,)
    return [Arithmetic(fast, last) for fast in (False, True)[: 1 + has_bfloat16(device)] for last in formats]


def timed(run: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Least duration of a call in seconds; the first, which warms up, counts where it takes longer than `seconds`."""
    end, least = time.perf_counter() + seconds, float("inf")
    for call in itertools.count():
        begin = time.perf_counter()
        run()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        now = time.perf_counter()
        if call or now > end:
            least = min(least, now - begin)
        if least < float("inf") and now > end:
            break
    return least


def fastest(times: dict[Arithmetic, float], plain: Arithmetic = Arithmetic()) -> Arithmetic:
    """The fastest way, where it beats plain float32 by a tenth; else that."""
    best = min(times, key=lambda way: times[way])
    return best if times[best] < GAIN * times[plain] else plain


def summary(chosen: Arithmetic, times: dict[Arithmetic, float]) -> str:
    """The choice and the times behind it, in one line."""
    shown = "; ".join(f"{way} {1000 * seconds:.3g} ms" for way, seconds in times.items())
    return f"computes in {chosen}: by trial {shown}"
