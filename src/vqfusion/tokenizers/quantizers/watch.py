"""Warning when nearly all codes of a quantizer fall out of use in training."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from vqfusion.errors import Note
from vqfusion.tokenizers.quantizers.base import Quantizer
from vqfusion.types import Quantized

EVERY, FEWEST = 100, 0.02  # batches between checks; fraction of the codes that a batch could use


class UsageWatch:
    """Forward hook of a quantizer that warns once, with a `Note`, when the codebook has collapsed.

    The mean perplexity over 100 batches, after the first 100, is below 2 % of the number of codes (or of the vectors of
    a batch, where these are fewer), or below 1.5.
    """

    def __init__(self) -> None:
        self.seen, self.told = 0, False
        self.total: Tensor | float = 0.0

    def __call__(self, quantizer: nn.Module, given: tuple[Any, ...], out: Quantized) -> None:
        if not quantizer.training or self.told or torch.compiler.is_compiling():
            return
        assert isinstance(quantizer, Quantizer)
        self.seen += 1
        if self.seen <= EVERY:
            return
        self.total = self.total + out.perplexity.detach()
        if self.seen % EVERY:
            return
        perplexity, self.total = float(self.total) / EVERY, 0.0
        possible = min(quantizer.codebook_size, _vectors(quantizer, given[0]))
        if perplexity < max(1.5, FEWEST * possible):
            self.told = True
            warnings.warn(
                f"the codebook has collapsed: about {perplexity:.3g} of {quantizer.codebook_size} codes are in use "
                f"after {self.seen} batches; lower the learning rate, build the quantizer with kmeans_init=True, or "
                "give more varied data",
                Note,
                stacklevel=2,
            )


def watch_usage(module: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
    """Watch every quantizer of a module that is not part of another quantizer; removing the handles ends it."""
    found = {name: one for name, one in module.named_modules() if isinstance(one, Quantizer)}
    prefixes = {name: f"{name}." if name else "" for name in found}
    inner = {name for name in found for other in found if name != other and name.startswith(prefixes[other])}
    return [one.register_forward_hook(UsageWatch()) for name, one in found.items() if name not in inner]


def _vectors(quantizer: Quantizer, x: Tensor) -> int:
    """Number of vectors of a batch."""
    return x.numel() // quantizer.dim
