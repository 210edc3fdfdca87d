"""The vectors of a batch as rows with weights, and the result of quantizing them."""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.tokenizers.quantizers.distortion import distortion


@dataclass(frozen=True)
class Rows:
    """The vectors of a batch as rows of float32.

    In training these are the real, finite vectors; in evaluation, where no shape may depend on the data, all vectors,
    with zeros in place of the others.

    Attributes:
        vectors: The vectors.
        weight: Sums to one over the real, finite rows and is zero for the others; None weights all rows alike.
        item: Index of the batch item of each row.
        items: Number of items in the batch.
        seed: Seed of all random draws.
        depth: Number of codes of a residual quantizer that each row keeps, where the caller decides it.
    """

    vectors: Float[Tensor, "N D"]
    weight: Float[Tensor, " N"] | None
    item: Int[Tensor, " N"]
    items: int
    seed: int = 0
    depth: Int[Tensor, " N"] | None = None

    def of(self, vectors: Float[Tensor, "N E"], draw: int = 0) -> "Rows":
        """The same rows with other vectors; each `draw` has its own random numbers."""
        return replace(self, vectors=vectors, seed=self.seed + draw)

    def where(self, chosen: Bool[Tensor, " N"]) -> "Rows":
        """Subset of the rows; the weights are not renormalised."""
        depth = None if self.depth is None else self.depth[chosen]
        return Rows(self.vectors[chosen], self.weights()[chosen], self.item[chosen], self.items, self.seed, depth)

    def generator(self) -> torch.Generator:
        """New generator with the seed of the rows."""
        return torch.Generator(self.vectors.device).manual_seed(self.seed)

    def weights(self) -> Float[Tensor, " N"]:
        """Weight of each row."""
        return (
            self.vectors.new_full((len(self.vectors),), 1 / max(1, len(self.vectors)))
            if self.weight is None
            else self.weight
        )

    def mean(self, values: Float[Tensor, " N"]) -> Float[Tensor, ""]:
        """Weighted mean over rows."""
        return values.sum() / max(1, len(values)) if self.weight is None else (values * self.weight).sum()

    def distance(self, a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
        """Weighted mean over rows of the mean squared difference of `a` and `b`."""
        return distortion(a, b) if self.weight is None else self.mean((a - b).square().mean(dim=1))


@dataclass(frozen=True)
class Assignment:
    """Result of quantizing rows.

    Attributes:
        indices: `[N]`, or `[N, Q]` with -1 where a code was dropped.
        codes: Code vectors, with the gradient of the codebook.
        quantized: Vectors for the decoder, with the gradient of the estimator.
        error: Mean squared difference between rows and codes.
        loss: As in `Quantized`.
        losses: As in `Quantized`.
        depth_error: Error after each of Q codes.
    """

    indices: Int[Tensor, "N ..."]
    codes: Float[Tensor, "N D"]
    quantized: Float[Tensor, "N D"]
    error: Float[Tensor, ""]
    loss: Float[Tensor, ""]
    losses: dict[str, Tensor] = field(default_factory=dict)
    depth_error: Float[Tensor, " Q"] | None = None


def check_mask(mask: Bool[Tensor, "B ..."] | None, grid: tuple[int, ...]) -> None:
    """Raise ValueError where a mask is not boolean or not of the shape of the grid of vectors."""
    if mask is not None and mask.dtype != torch.bool:  # an integer mask would index instead of select
        raise ValueError(f"the mask is of {mask.dtype}; give mask.bool(), True where a vector is real")
    if mask is not None and mask.shape != grid:
        raise ValueError(
            f"the mask is {tuple(mask.shape)}, the grid of vectors {tuple(grid)}; give one boolean for each vector"
        )


def all_finite(x: Float[Tensor, "N D"]) -> bool:
    """Whether all vectors are finite, from their common norm, without a temporary."""
    return bool(torch.linalg.vector_norm(x.detach()).isfinite())


def finite_rows(x: Float[Tensor, "N D"]) -> Bool[Tensor, " N"]:
    """True for vectors with a finite norm in float32."""
    return x.detach().square().sum(dim=1).isfinite()


def noise_seed(x: Float[Tensor, "N D"], generator: torch.Generator | None) -> int:
    """Seed from the generator, or else from the bits of the sum of the vectors."""
    if generator is not None:
        return int(torch.randint(2**40, (), generator=generator, device=generator.device))
    return int(x.detach().contiguous().sum().view(torch.int32)) + 2**31
