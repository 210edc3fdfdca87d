"""The vectors of a batch as rows, which of them count, and what a quantizer makes of them."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.tokenizers.quantizers.distortion import distortion


@dataclass(frozen=True)
class Rows:
    """The vectors of a batch as rows of float32.

    In training those that are real and finite; in evaluation, where no shape may depend on data, all of them, the
    others as zeros. `weight` sums to one over the real, finite rows and is zero for the others; without one all rows
    count alike. `item` is the place of a row in the batch of `items`. Random draws start from `seed`. `depth` is how
    many codes of a residual quantizer each row keeps, where that is decided outside of it.
    """

    vectors: Float[Tensor, "N D"]
    weight: Float[Tensor, " N"] | None
    item: Int[Tensor, " N"]
    items: int
    seed: int = 0
    depth: Int[Tensor, " N"] | None = None

    def of(self, vectors: Float[Tensor, "N E"], draw: int = 0) -> "Rows":
        """The same rows with other vectors, and with random draws of their own when `draw` differs."""
        return replace(self, vectors=vectors, seed=self.seed + draw)

    def where(self, chosen: Bool[Tensor, " N"]) -> "Rows":
        """Some of the rows, which weigh what they did among all."""
        depth = None if self.depth is None else self.depth[chosen]
        return Rows(self.vectors[chosen], self.weights()[chosen], self.item[chosen], self.items, self.seed, depth)

    def generator(self) -> torch.Generator:
        """A new generator that starts from the seed."""
        return torch.Generator(self.vectors.device).manual_seed(self.seed)

    def weights(self) -> Float[Tensor, " N"]:
        """The weight of each row."""
        return (
            self.vectors.new_full((len(self.vectors),), 1 / max(1, len(self.vectors)))
            if self.weight is None
            else self.weight
        )

    def mean(self, values: Float[Tensor, " N"]) -> Float[Tensor, ""]:
        """Mean over rows by their weights."""
        return values.sum() / max(1, len(values)) if self.weight is None else (values * self.weight).sum()

    def distance(self, a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
        """Mean squared distance of rows, divided by their width."""
        return distortion(a, b) if self.weight is None else self.mean((a - b).square().mean(dim=1))


@dataclass(frozen=True)
class Assignment:
    """What a quantizer makes of rows.

    `indices` is `[N]`, or `[N, Q]` with -1 where a code was dropped; `codes` are their vectors, with the gradient of
    the codebook; `quantized` is what goes on to the decoder. `error` is the mean squared distance of rows to codes,
    `depth_error` the same after each of Q codes. `loss` and `losses` as in `Quantized`.
    """

    indices: Int[Tensor, "N ..."]
    codes: Float[Tensor, "N D"]
    quantized: Float[Tensor, "N D"]
    error: Float[Tensor, ""]
    loss: Float[Tensor, ""]
    losses: dict[str, Tensor] = field(default_factory=dict)
    depth_error: Float[Tensor, " Q"] | None = None


def check_mask(mask: Bool[Tensor, "B ..."] | None, grid: tuple[int, ...]) -> None:
    """ValueError when a mask holds no truth values, or is not of the shape of the grid of vectors."""
    if mask is not None and mask.dtype != torch.bool:  # whole numbers would be taken for indices
        raise ValueError(f"the mask is of {mask.dtype}; give mask.bool(), True where a vector is real")
    if mask is not None and mask.shape != grid:
        raise ValueError(
            f"the mask is {tuple(mask.shape)}, the grid of vectors {tuple(grid)}; give one truth value for each vector"
        )


def all_finite(x: Float[Tensor, "N D"]) -> bool:
    """Whether no vector is poison, by one pass that writes nothing."""
    return bool(torch.linalg.vector_norm(x.detach()).isfinite())


def finite_rows(x: Float[Tensor, "N D"]) -> Bool[Tensor, " N"]:
    """Which vectors have a finite norm in float32."""
    return x.detach().square().sum(dim=1).isfinite()


def noise_seed(x: Float[Tensor, "N D"], generator: torch.Generator | None) -> int:
    """A seed from the generator, or from the sum of the vectors bit for bit."""
    if generator is not None:
        return int(torch.randint(2**40, (), generator=generator, device=generator.device))
    return int(x.detach().contiguous().sum().view(torch.int32)) + 2**31
