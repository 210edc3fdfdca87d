"""Second moments of what the layers of a network are given, for rounding that allows for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PLACES = 1024  # patches of a call that are counted
MOST_BYTES = 2**29  # of moments that are held at once


def layers_of(network: nn.Module) -> dict[str, nn.Module]:
    """Layers that multiply with a matrix, by the name of their weight."""
    found = {}
    for name, module in network.named_modules():
        plain = isinstance(module, CONVOLUTIONS) and module.groups == 1 and set(module.dilation) == {1}
        if (isinstance(module, nn.Linear) or plain) and isinstance(module.weight, Tensor):
            found[f"{name}.weight" if name else "weight"] = module
    return found


def in_parts(layers: Mapping[str, nn.Module]) -> Iterator[dict[str, nn.Module]]:
    """Layers in their order, in parts whose moments fit in memory."""
    part: dict[str, nn.Module] = {}
    held = 0
    for name, layer in layers.items():
        size = 4 * _columns(layer) ** 2
        if part and held + size > MOST_BYTES:
            yield part
            part, held = {}, 0
        part[name], held = layer, held + size
    if part:
        yield part


def _columns(layer: nn.Module) -> int:
    """Elements of a row of the weight."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return prod(weight.shape[1:])


def moments(layers: Mapping[str, nn.Module], run: Callable[[], Any]) -> dict[str, Tensor]:
    """Mean of x x' over the inputs x of each layer while `run` runs; layers that are not called are left out."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    generator = torch.Generator().manual_seed(0)
    with _watched(layers, sums, counts, generator), torch.no_grad():
        run()
    return {name: total / counts[name] for name, total in sums.items()}


@contextmanager
def _watched(
    layers: Mapping[str, nn.Module], sums: dict[str, Tensor], counts: dict[str, int], generator: torch.Generator
) -> Iterator[None]:
    def look(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
            rows = _rows(module, given[0].detach().float(), generator)
            sums[name] = sums.get(name, 0) + rows.t() @ rows
            counts[name] = counts.get(name, 0) + len(rows)

        return hook

    handles = [layer.register_forward_pre_hook(look(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _rows(module: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """Some of the vectors `[N, C]` that the rows of the weight are multiplied with."""
    if not isinstance(module, CONVOLUTIONS):
        rows = x.reshape(-1, x.shape[-1])
        return rows[torch.randperm(len(rows), generator=generator)[:PLACES]]
    if isinstance(module.padding, str) or any(module.padding):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        x = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    for axis, (size, stride) in enumerate(zip(module.kernel_size, module.stride, strict=True), 2):
        x = x.unfold(axis, size, stride)  # [B, C, *out, *kernel]
    rank = len(module.kernel_size)
    x = x.movedim(1, rank + 1)  # [B, *out, C, *kernel]
    places = torch.randint(prod(x.shape[: rank + 1]), (PLACES,), generator=generator)
    index = torch.unravel_index(places, x.shape[: rank + 1])
    return x[index].reshape(len(places), -1)
