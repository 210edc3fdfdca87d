"""Convolutional networks on signals of any size in bounded memory, by overlapping tiles.

Group normalisation is the only operation that depends on the whole signal. Its statistics are measured once, on crops
spread evenly over the signal, and then fixed for all tiles; a tile with a halo of the width of the receptive field
gives the same result as the whole signal, so that there are no seams. Statistics of each tile by itself would cost 1.5
dB on photographs (docs/decisions.md).

Networks without normalisation, such as `RestorationNet`, need no measurement: `run_local` gives exactly the result of
the whole signal.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.watch import told

MOST_ELEMENTS = 2**21  # positions of a signal per network call
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

Statistics = dict[nn.GroupNorm, tuple[Tensor, Tensor]]
Box = tuple[tuple[int, int], ...]


def receptive_radius(network: nn.Module) -> int:
    """Radius of the receptive field in input positions, rounded up.

    For networks whose convolutions are applied one after another in the order in which they were created.
    """
    radius, step = 0.0, 1.0
    for module in network.modules():
        if isinstance(module, CONVOLUTIONS):
            radius += step * (module.kernel_size[0] // 2) * module.dilation[0]
            step *= module.stride[0]
        elif isinstance(module, TRANSPOSED):
            step /= module.stride[0]
            radius += step * (module.kernel_size[0] // 2)
    return -int(-radius // 1)


@torch.no_grad()
def run_tiled(
    network: nn.Module, x: Float[Tensor, "B C ..."], down: int = 1, up: int = 1, most: int = MOST_ELEMENTS
) -> Float[Tensor, "B D ..."]:
    """`network(x)` in tiles, for a network that divides every axis by `down` or multiplies it by `up`.

    Signals with at most `most` positions are passed whole. Larger ones are processed item by item in tiles, with the
    statistics of group normalisation measured on `most` positions.

    Args:
        network: The network.
        x: Signals.
        down: Factor by which the network divides every axis.
        up: Factor by which the network multiplies every axis.
        most: Number of positions per call, counted at the input or output, whichever is larger.

    Returns:
        The output of the network.
    """
    positions = x[0, 0].numel() * up ** (x.ndim - 2)
    if positions <= most:
        return network(x)
    side = int((most / up ** (x.ndim - 2)) ** (1 / (x.ndim - 2)))
    return torch.cat([_run_item(network, item[None], down, up, side) for item in x])


def _run_item(network: nn.Module, x: Tensor, down: int, up: int, side: int) -> Tensor:
    """One signal in tiles of at most `side` positions along each axis, halo included."""
    halo = -(-receptive_radius(network) // down) * down
    tile = max(down, (side - 2 * halo) // down * down)
    size = x.shape[2:]
    crops = _crops(x, side, halo, down)
    statistics = measure_statistics(network, crops, min(0.25, halo / min(crops.shape[2:])))
    out: Tensor | None = None
    with held_statistics(network, statistics):
        for box in told(list(_boxes(size, tile))):
            wide = tuple((max(0, a - halo), min(n, b + halo)) for (a, b), n in zip(box, size, strict=True))
            part = network(x[_slices(wide)])
            if out is None:
                out = part.new_empty(1, part.shape[1], *(n * up // down for n in size))
            inner = tuple(
                ((a - c) * up // down, (b - c) * up // down) for (a, b), (c, _) in zip(box, wide, strict=True)
            )
            place = tuple((a * up // down, b * up // down) for a, b in box)
            out[_slices(place)] = part[_slices(inner)]
    assert out is not None
    return out


@torch.no_grad()
def run_local(
    function: Callable[[Tensor, slice], Tensor],
    x: Float[Tensor, "B C ..."],
    radius: int,
    multiple: int = 1,
    most: int = MOST_ELEMENTS,
) -> Float[Tensor, "B D ..."]:
    """`function(x, slice(B))` in tiles, for a function that preserves the size and has a bounded receptive field.

    Args:
        function: Called as `function(part, rows)` with a part of the signals `rows`.
        x: Signals; every axis must be a multiple of `multiple`.
        radius: Radius of the receptive field in positions.
        multiple: Every part starts at a multiple of this.
        most: Largest number of positions per call, unless tiles as wide as their margins need more.

    Returns:
        The output of the function.
    """
    size = x.shape[2:]
    positions = math.prod(size)
    if len(x) * positions <= most:
        return function(x, slice(0, len(x)))
    if positions <= most:
        each = most // positions
        return torch.cat(
            [function(x[i : i + each], slice(i, min(i + each, len(x)))) for i in told(range(0, len(x), each))]
        )
    halo = -(-radius // multiple) * multiple
    out: Tensor | None = None
    for i in told(range(len(x))):
        for box in told(list(itertools.product(*_parts(size, halo, multiple, most)))):
            wide = tuple((max(0, a - halo), min(n, b + halo)) for (a, b), n in zip(box, size, strict=True))
            part = function(x[i : i + 1][_slices(wide)], slice(i, i + 1))
            if out is None:
                out = x.new_empty(len(x), part.shape[1], *size)
            inner = tuple((a - c, b - c) for (a, b), (c, _) in zip(box, wide, strict=True))
            out[i : i + 1][_slices(box)] = part[_slices(inner)].to(out.dtype)
    assert out is not None
    return out


def _parts(size: tuple[int, ...], halo: int, multiple: int, most: int) -> list[list[tuple[int, int]]]:
    """Intervals along each axis such that all tiles with margins have the fewest positions, each tile at most `most`.

    A tile is at least as wide as its margin, because narrower tiles would consist mostly of margin.
    """
    tries = {1: 1 << 16, 2: 64, 3: 16}[len(size)]
    options = []
    for n in size:
        widths = sorted({-(-(n // multiple) // count) * multiple for count in range(1, min(tries, n // multiple) + 1)})
        widths = [inner for inner in widths if inner >= min(n, halo)]
        options.append([(inner, min(n, inner + 2 * halo), -(-n // inner)) for inner in widths])

    def cost(choice: tuple[tuple[int, int, int], ...]) -> tuple[int, int]:
        tile = math.prod(wide for _, wide, _ in choice)
        return max(0, tile - most), tile * math.prod(count for *_, count in choice)

    best = min(itertools.product(*options), key=cost)
    return [[(a, min(n, a + inner)) for a in range(0, n, inner)] for n, (inner, _, _) in zip(size, best, strict=True)]


def measure_statistics(network: nn.Module, crops: Float[Tensor, "B C ..."], margin: float = 0.0) -> Statistics:
    """Mean and variance of each group of each group normalisation over a batch of crops, in one pass.

    The fraction `margin` at both ends of every axis is excluded, because padding affects it.
    """
    found: Statistics = {}

    def measure(module: nn.GroupNorm, x: Tensor) -> Tensor:
        cuts = [round(margin * n) for n in x.shape[2:]]
        inner = x[_slices(tuple((cut, n - cut) for cut, n in zip(cuts, x.shape[2:], strict=True)))]
        groups = inner.unflatten(1, (module.num_groups, -1)).transpose(0, 1).flatten(1).float()
        found[module] = groups.mean(1), groups.var(1, correction=0)
        return _normalised(module, x, *found[module])

    with _replaced(network, measure):
        network(crops)
    return found


@contextmanager
def held_statistics(network: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Context in which group normalisations use these statistics instead of those of their input."""
    with _replaced(network, lambda module, x: _normalised(module, x, *statistics[module])):
        yield


@contextmanager
def _replaced(network: nn.Module, function: Callable[[nn.GroupNorm, Tensor], Tensor]) -> Iterator[None]:
    """Context in which the output of every group normalisation is `function(module, input)`."""
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    handles = [norm.register_forward_hook(lambda module, given, _: function(module, given[0])) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _normalised(module: nn.GroupNorm, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    width = module.num_channels // module.num_groups
    scale = (variance + module.eps).rsqrt().repeat_interleave(width) * module.weight
    shift = module.bias - mean.repeat_interleave(width) * scale
    return (x * scale.view(shape) + shift.view(shape)).to(x.dtype)


def _crops(x: Float[Tensor, "1 C ..."], side: int, halo: int, align: int) -> Float[Tensor, "B C ..."]:
    """Crops of one size, spread evenly over the signal, with about `side`^rank positions in total."""
    rank = x.ndim - 2
    each = max(2, min({1: 64, 2: 8, 3: 4}[rank], side // (4 * halo)))  # along an axis
    lengths = [min(n, max(align, side // each // align * align)) for n in x.shape[2:]]
    starts = [
        sorted({(n - length) * i // (each - 1) // align * align for i in range(each)})
        for n, length in zip(x.shape[2:], lengths, strict=True)
    ]
    return torch.cat([
        x[_slices(tuple((a, a + length) for a, length in zip(corner, lengths, strict=True)))]
        for corner in itertools.product(*starts)
    ])  # fmt: skip


def _boxes(size: tuple[int, ...], tile: int) -> Iterator[Box]:
    yield from itertools.product(*([(a, min(n, a + tile)) for a in range(0, n, tile)] for n in size))


def _slices(box: Box) -> tuple[slice, ...]:
    return (slice(None), slice(None), *(slice(a, b) for a, b in box))
