"""Weights as whole numbers of few bits, with one factor for each group of a row."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.errors import UserError

KEY = "packed"  # in the metadata of a safetensors file
SCALE = ".scale"
BITS = range(2, 9)


@dataclass(frozen=True)
class Packing:
    """How a matrix `[R, *C]` is stored.

    Attributes:
        bits: Bits of a number.
        group: Neighbours in a row that share a factor.
        shape: Shape of the matrix.
    """

    bits: int
    group: int
    shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        """Groups of a row."""
        return ceil(prod(self.shape[1:]) / self.group)

    @property
    def bytes(self) -> int:
        """Bytes of the numbers, without the factors."""
        return ceil(prod(self.shape) * self.bits / 8)


@dataclass(frozen=True)
class Packed:
    """A matrix as whole numbers from -2^(bits-1) to 2^(bits-1) - 1, and factors in float16."""

    how: Packing
    numbers: Int[Tensor, "R N"]
    scale: Float[Tensor, "R G"]

    def values(self) -> Tensor:
        """The matrix, rounded to float16."""
        wide = self.scale.float().repeat_interleave(self.how.group, 1)[:, : self.numbers.shape[1]]
        return (self.numbers.float() * wide).half().float().view(self.how.shape)


def packed_tensors(matrices: Mapping[str, Packed]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata with which `unpacked` gives the matrices back."""
    tensors: dict[str, Tensor] = {}
    for name, one in matrices.items():
        tensors[name], tensors[name + SCALE] = to_bytes(one.numbers, one.how.bits), one.scale.half()
    return tensors, {KEY: json.dumps({name: asdict(one.how) for name, one in matrices.items()})}


def unpacked(tensors: dict[str, Tensor], metadata: Mapping[str, str], where: Any) -> dict[str, Tensor]:
    """Tensors with packed matrices as floats; UserError where the metadata do not fit them."""
    if KEY not in metadata:
        return tensors
    made = dict(tensors)
    try:
        for name, said in json.loads(metadata[KEY]).items():
            how = Packing(int(said["bits"]), int(said["group"]), tuple(int(n) for n in said["shape"]))
            data, scale = made[name], made.pop(name + SCALE)
            fits = how.bits in BITS and how.group > 0 and len(how.shape) > 1 and min(how.shape) > 0
            if not fits or data.dtype != torch.uint8 or data.shape != (how.bytes,):
                raise ValueError(f"{name} does not fit its description")
            if scale.shape != (how.shape[0], how.groups):
                raise ValueError(f"{name}: factors of shape {list(scale.shape)}")
            numbers = from_bytes(data, how.bits, prod(how.shape)).view(how.shape[0], -1)
            made[name] = Packed(how, numbers, scale).values()
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RuntimeError) as error:
        raise UserError(f"{where}: its packed weights are damaged ({' '.join(str(error).split())[:120]})") from None
    return made


def to_bytes(numbers: Int[Tensor, "..."], bits: int) -> Tensor:
    """Whole numbers from -2^(bits-1) on as bits without gaps, in uint8."""
    if bits == 8:
        return numbers.flatten().to(torch.int8).view(torch.uint8)
    lifted = (numbers.flatten() + 2 ** (bits - 1)).to(torch.uint8).numpy()
    each = np.unpackbits(lifted[:, None], axis=1)[:, 8 - bits :]
    return torch.from_numpy(np.packbits(each.reshape(-1)))


def from_bytes(data: Tensor, bits: int, count: int) -> Tensor:
    """The inverse of `to_bytes`: `count` numbers."""
    if bits == 8:
        return data.view(torch.int8)[:count].to(torch.int16)
    each = np.unpackbits(data.numpy(), count=count * bits).reshape(count, bits)
    weights = 2 ** np.arange(bits - 1, -1, -1, dtype=np.int16)
    return torch.from_numpy(each.astype(np.int16) @ weights - 2 ** (bits - 1))
