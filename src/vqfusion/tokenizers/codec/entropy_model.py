"""Entropy model for the range coder: the probability of each code given its neighbours, in integer arithmetic."""

import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vqfusion.tokenizers.codec.range_coder import RangeDecoder, RangeEncoder

# offsets of the neighbours that are coded before a code, by the number of axes of the grid
NEIGHBOURS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((-1,), (-2,)),
    2: ((0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0)),
    3: ((0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, -1, -1), (-1, 0, -1), (-1, -1, 0)),
    4: ((0, 0, 0, -1), (0, 0, -1, 0), (0, -1, 0, 0), (-1, 0, 0, 0)),
}
# positions p with equal p . FRONT form a front: none is among the neighbours of another, so they are coded together
FRONT: dict[int, tuple[int, ...]] = {1: (1,), 2: (2, 1), 3: (1, 1, 1), 4: (1, 1, 1, 1)}
REACH = 2  # largest offset of a neighbour along an axis
FRACTION = 64  # log-probabilities are integers in units of 1/64 bit
PEAK_BITS = 20  # the most probable code has weight 2^20, every code at least 1
EXP2 = np.array([1 + round(2 ** (PEAK_BITS - i / FRACTION)) for i in range(FRACTION * (PEAK_BITS + 2))], np.int32)
EXACT = 2**24  # integers below this are exact in float32
ENCODED_AT_ONCE = 2**20  # weights


@dataclass(frozen=True)
class EntropyModel:
    """p(code | neighbours coded before it): a network with one hidden layer and integer weights.

    The score of code k is `bias_k + (output_k . relu(sum of table rows)) >> shift`, in bits / 64, with one row of
    `table` for each neighbour. Integers, because encoder and decoder must agree to the last bit on every machine. The
    architecture is that of a neural language model (Bengio, Ducharme, Vincent, Jauvin, 2003).

    Attributes:
        table: First layer, int8 `[neighbours, K + 1, H]`; row K stands for a position outside the grid.
        output: Second layer, int8 `[K, H]`.
        bias: Score of each code without context, int16 `[K]`, in bits / 64.
        shift: Right shift of the product of hidden layer and `output`.
        axes: Number of axes of the grid, which determines the neighbours.
    """

    table: Int[Tensor, "N K1 H"]
    output: Int[Tensor, "K H"]
    bias: Int[Tensor, " K"]
    shift: int
    axes: int

    @property
    def codebook_size(self) -> int:
        """Number of codes."""
        return len(self.bias)

    @cached_property
    def fingerprint(self) -> str:
        """Checksum of all weights, eight hexadecimal digits."""
        state = self.shift * 8 + self.axes
        for tensor in (self.table, self.output, self.bias):
            state = binascii.crc32(tensor.numpy().tobytes(), state)
        return f"{state:08x}"

    def weights(self, contexts: Int[np.ndarray, "n N"]) -> Int[np.ndarray, "n K"]:
        """Weight of every code for each row of neighbours; p = weight / sum of the row.

        Sums of products stay below 2^24 and are therefore exact in float32, in any order of summation.
        """
        table, output, bias = self._arrays
        hidden = table[np.arange(len(table)), contexts].sum(axis=1).clip(min=0)
        scores = ((hidden @ output).astype(np.int32) >> self.shift) + bias
        below = scores.max(axis=1, keepdims=True) - scores
        return EXP2.take(below, mode="clip")

    def encode(self, ids: Int[np.ndarray, "..."]) -> bytes:
        """Encode a grid of codes as bytes."""
        coder = RangeEncoder()
        contexts = neighbours(torch.from_numpy(ids), self.codebook_size).numpy()
        order = np.concatenate([np.ravel_multi_index(places, ids.shape) for places in fronts(ids.shape)])
        for at in range(0, len(order), rows := max(1, ENCODED_AT_ONCE // self.codebook_size)):
            part = order[at : at + rows]
            symbols, ends = ids.reshape(-1)[part], self._ends(contexts[part])
            places = np.arange(len(part))
            last, first = ends[places, symbols + 1], ends[places, symbols]
            for start, end, total in zip(first.tolist(), last.tolist(), ends[:, -1].tolist(), strict=True):
                coder.encode(start, end - start, total)
        return coder.finish()

    def decode(self, data: bytes, shape: tuple[int, ...]) -> Int[np.ndarray, "..."]:
        """Decode a grid of the given shape; inverse of `encode`."""
        coder = RangeDecoder(data)
        if len(shape) != self.axes:
            raise ValueError(f"the entropy model is for grids of {self.axes} axes, not {len(shape)}")
        offsets = NEIGHBOURS[self.axes]
        padded = np.full([n + 2 * REACH for n in shape], self.codebook_size, np.int64)
        for places in fronts(shape):
            at = [place + REACH for place in places]
            around = [padded[tuple(a + o for a, o in zip(at, offset, strict=True))] for offset in offsets]
            symbols = []
            for ends in self._ends(np.stack(around, axis=1)):
                total = int(ends[-1])
                symbol = int(ends.searchsorted(coder.target(total), side="right")) - 1
                start, end = ends[symbol : symbol + 2].tolist()
                coder.consume(start, end - start, total)
                symbols.append(symbol)
            padded[tuple(at)] = symbols
        return padded[tuple(slice(REACH, REACH + n) for n in shape)].copy()

    def tensors(self) -> dict[str, Tensor]:
        """All weights as tensors, for saving."""
        return {
            "table": self.table,
            "output": self.output,
            "bias": self.bias,
            "shift": torch.tensor([self.shift, self.axes], dtype=torch.int16),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "EntropyModel":
        """Inverse of `tensors`; ValueError where they do not form an entropy model."""
        try:
            table, output, bias = tensors["table"], tensors["output"], tensors["bias"]
            shift, axes = tensors["shift"].tolist()
            fits = (
                table.dtype == output.dtype == torch.int8
                and bias.dtype == torch.int16
                and table.shape == (len(NEIGHBOURS[axes]), len(bias) + 1, output.shape[1])
                and len(output) == len(bias)
                and 0 <= shift < 32
                and len(table) * output.shape[1] * 127**2 < EXACT
            )
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"not an entropy model ({error})") from None
        if not fits:
            raise ValueError("not an entropy model (its tables do not fit one another)")
        return cls(table, output, bias, shift, axes)

    def _ends(self, contexts: Int[np.ndarray, "n N"]) -> Int[np.ndarray, "n K1"]:
        """Cumulative weights: code k has the interval from column k to column k + 1."""
        ends = np.zeros((len(contexts), self.codebook_size + 1), np.int64)
        np.cumsum(self.weights(contexts), axis=1, out=ends[:, 1:])
        return ends

    @cached_property
    def _arrays(self):
        return (
            self.table.numpy().astype(np.float32),
            self.output.numpy().T.astype(np.float32),
            self.bias.numpy().astype(np.int32),
        )


def fronts(shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, ...]]:
    """Positions of a grid in coding order, one front at a time; a front depends on earlier fronts only."""
    yield from _order(shape)


@lru_cache(maxsize=4)
def _order(shape: tuple[int, ...]) -> list[tuple[np.ndarray, ...]]:
    places = np.indices(shape).reshape(len(shape), -1)
    when = np.array(FRONT[len(shape)]) @ places
    order = when.argsort(kind="stable")
    ends = np.cumsum(np.bincount(when))[:-1]
    return [tuple(part) for part in np.split(places[:, order], ends, axis=1) if part.size]


def neighbours(ids: Int[Tensor, "..."], codebook_size: int) -> Int[Tensor, "n N"]:
    """Neighbours of every code of a grid, in row-major order; `codebook_size` stands for outside the grid."""
    padded = torch.nn.functional.pad(ids, (REACH,) * (2 * ids.ndim), value=codebook_size)
    rows = []
    for offset in NEIGHBOURS[ids.ndim]:
        window = tuple(slice(REACH + o, REACH + o + n) for o, n in zip(offset, ids.shape, strict=True))
        rows.append(padded[window].reshape(-1))
    return torch.stack(rows, dim=1)
