"""Base class of all quantizers: layout, masks, non-finite input, gradient estimation and statistics."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vqfusion.config import QuantizerConfig
from vqfusion.errors import UserError
from vqfusion.nn.pretrained import Pretrained
from vqfusion.tokenizers.quantizers.described import arguments, built_quantizer, stored_quantizer
from vqfusion.tokenizers.quantizers.estimators import ESTIMATORS
from vqfusion.tokenizers.quantizers.rows import Assignment, Rows, all_finite, check_mask, finite_rows, noise_seed
from vqfusion.types import Quantized


class Quantizer(nn.Module, Pretrained, ABC):
    """Maps vectors to the nearest of `codebook_size` codes.

    The input is `[B, *grid, dim]`, or `[B, dim, *grid]` with `channel_first=True`, of any rank; `mask` is `[B, *grid]`,
    True = real. Masked vectors become zeros with index 0 and are excluded from loss and statistics, as are vectors that
    are not finite in float32. Indices are `[B, *grid, *index_axes]`; a quantizer with several codes per vector has
    `index_axes = (Q,)`, and its `perplexity` and `usage` are means over its codebooks.

    Q(Q(z)) = Q(z), and indices survive the round trip through vectors, unless `idempotent` is False. Everything is
    computed in float32 whatever the autocast setting. Random draws in training are seeded from `generator`, or else
    from a checksum of the vectors: a resumed run or a recomputed activation draws the same numbers, and padding does
    not change them.

    Subclasses implement `nearest`, `lookup` and `quantization_losses`, or override `assign`.

    Args:
        dim: Dimension of the vectors.
        codebook_size: Number of codes.
        channel_first: Whether the vector axis is the second one instead of the last.
        estimator: Gradient estimator: "ste", "rotation" or "diveq", see `estimators`.
    """

    idempotent = True
    draws = False  # whether training uses random numbers, apart from the estimator
    index_axes: tuple[int, ...] = ()
    downsampling = 1  # size of the grid of vectors / size of the grid of indices, along each axis
    config_keys: tuple[str, ...] = ("dim", "codebook_size")  # fields of VQVAEConfig that the constructor takes
    kind: ClassVar[str] = "quantizer"
    config_type = QuantizerConfig
    built_with: dict[str, Any]  # arguments of the constructor

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        made.built_with = arguments(cls.__init__, args, kwargs)
        return made

    def __init__(self, dim: int, codebook_size: int, channel_first: bool = False, estimator: str = "ste"):
        super().__init__()
        if estimator not in ESTIMATORS:
            raise ValueError(f"unknown estimator {estimator!r}; known: {', '.join(ESTIMATORS)}")
        self.dim = dim
        self.codebook_size = codebook_size
        self.channel_first = channel_first
        self.estimator = estimator

    @abstractmethod
    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, "N ..."]:
        """Index of the nearest code for each vector, or indices where a vector has several."""

    @abstractmethod
    def lookup(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
        """Code vectors of indices `[..., *index_axes]`."""

    def quantization_losses(
        self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Weighted loss and its unweighted terms.

        Args:
            x: Vectors after `transform`.
            codes: Code vectors of the nearest codes.
            rows: The vectors with their weights, for means over real vectors.

        Returns:
            The scalar loss and its terms by name.
        """
        return x.new_zeros(()), {}

    def transform(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """Differentiable map of the vectors before the search, such as normalisation; must leave codes unchanged."""
        return x

    def surrogate(self, x: Float[Tensor, "B *grid D"]) -> Float[Tensor, "B *grid D"]:
        """Map whose gradient a straight-through quantizer has instead of its own."""
        return self.transform(x)

    def prepare(self, x: Float[Tensor, "N D"]) -> None:
        """Initialise from the first training batch; called in training with the real, finite vectors."""

    def observe(self, x: Float[Tensor, "N D"], indices: Int[Tensor, " N"]) -> None:
        """Collect what the next `update` needs; called in training with the real, finite vectors."""

    def update(self) -> None:
        """Update everything that is not learned by gradient; call once per optimizer step.

        Without new data it does nothing.
        """
        for part in self.modules():
            if isinstance(part, Quantizer) and part is not self:
                part.update()

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Call `update` automatically after each step of this optimizer."""
        optimizer.register_step_post_hook(lambda *_: self.update())

    def assign(self, rows: Rows) -> Assignment:
        """Quantize rows: indices, codes and losses."""
        x = self.transform(rows.vectors)
        if self.training:
            self.prepare(x.detach())
        indices = self.nearest(x)
        codes = self.lookup(indices)
        if self.training:
            self.observe(x.detach(), indices)
        quantized, loss, losses = self.output(x, codes, rows)
        return Assignment(indices, codes, quantized, rows.distance(x.detach(), codes.detach()), loss, losses)

    def output(
        self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows
    ) -> tuple[Float[Tensor, "N D"], Float[Tensor, ""], dict[str, Tensor]]:
        """Vectors for the decoder, the loss and its terms; arguments as in `quantization_losses`."""
        return self.estimate(x, codes, rows), *self.quantization_losses(x, codes, rows)

    def estimate(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows) -> Float[Tensor, "N D"]:
        """Codes with the gradient of the estimator; arguments as in `quantization_losses`."""
        noisy = self.training and self.estimator == "diveq"
        return ESTIMATORS[self.estimator](x, codes, rows.generator() if noisy else None)

    def forward(
        self,
        x: Float[Tensor, "B ..."],
        mask: Bool[Tensor, "B ..."] | None = None,
        generator: torch.Generator | None = None,
    ) -> Quantized:
        """Quantize a batch of vectors.

        Args:
            x: Vectors `[B, *grid, dim]`, or `[B, dim, *grid]` with `channel_first=True`.
            mask: `[B, *grid]`, True = real; None means that all are real.
            generator: Seeds the random draws of training.

        Returns:
            Codes, indices, loss and statistics.

        Raises:
            ValueError: Wrong dimension of the vectors, or wrong shape or type of the mask.
        """
        vectors = self.vectors_last(x)
        grid, flat = vectors.shape[:-1], vectors.reshape(-1, self.dim).float()
        check_mask(mask, grid)
        whole = self.training and mask is None and all_finite(flat)
        real = flat.new_ones(len(flat), dtype=torch.bool) if mask is None else mask.reshape(-1)
        valid = real if whole else real & finite_rows(flat)
        rows, spread = self._rows(flat, valid, whole, len(vectors), generator)
        with torch.autocast(x.device.type, enabled=False):
            out = self.assign(rows)
        counted = valid if rows.weight is not None or whole else valid[valid]
        perplexity, usage = self.statistics(out.indices, counted)
        per_depth = {"perplexity": perplexity, "usage": usage} if self.index_axes else {}
        if out.depth_error is not None:
            per_depth["quantization_error"] = out.depth_error
        indices = spread(out.indices)
        quantized = spread(out.quantized).to(x.dtype).reshape(vectors.shape)
        return Quantized(
            quantized=quantized.movedim(-1, 1) if self.channel_first else quantized,
            indices=indices.reshape(*grid, *indices.shape[1:]),
            loss=out.loss,
            losses=out.losses,
            perplexity=perplexity.mean(),
            usage=usage.mean(),
            quantization_error=out.error,
            nonfinite=(real & ~valid).sum(),
            per_depth=per_depth,
        )

    def indices_to_codes(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Code vectors, in the layout of the input, of indices `[B, *grid, *index_axes]`."""
        with torch.autocast(indices.device.type, enabled=False):
            codes = self.lookup(indices)
        return codes.movedim(-1, 1) if self.channel_first else codes

    @torch.no_grad()
    def encode(self, x: Float[Tensor, "B ..."]) -> Int[Tensor, "B ..."]:
        """Indices of the nearest codes as in evaluation: nothing is learned from `x` and no code is dropped."""
        was_training = self.training
        self.eval()
        try:
            return self(x).indices
        finally:
            self.train(was_training)

    def codes_to_indices(self, codes: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """Inverse of `indices_to_codes`."""
        vectors = self.vectors_last(codes)
        with torch.autocast(codes.device.type, enabled=False):
            indices = self.nearest(self.transform(vectors.reshape(-1, self.dim).float()))
        return indices.reshape(*vectors.shape[:-1], *indices.shape[1:])

    def vectors_last(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """The input as `[B, *grid, dim]`; ValueError where its vectors have another dimension."""
        vectors = x.movedim(1, -1) if self.channel_first else x
        width = vectors.shape[-1]
        if width != self.dim:
            name, layout = type(self).__name__, "channels first" if self.channel_first else "vectors last"
            swapped = f"; dim comes first: {name}(dim={width}, codebook_size={self.dim})"
            raise ValueError(
                f"the quantizer was built for vectors of {self.dim}, the input has {width} ({layout})"
                f"{swapped if width == self.codebook_size else ''}"
            )
        return vectors

    def index_shape(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the indices of one item with the given grid of vectors."""
        return (*grid, *self.index_axes)

    def by_codebook(self, indices: Int[Tensor, "..."]) -> list[Int[Tensor, "..."]]:
        """Indices of each codebook."""
        return list(indices.unbind(dim=-1)) if self.index_axes else [indices]

    def statistics(
        self, indices: Int[Tensor, "N ..."], counted: Bool[Tensor, " N"]
    ) -> tuple[Float[Tensor, " Q"], Float[Tensor, " Q"]]:
        """Perplexity exp(entropy) and fraction of codes in use, for each codebook.

        `counted` is True for the vectors to count.
        """
        perplexities, usages = [], []
        for column in self.by_codebook(indices):
            present = counted.reshape(-1, *[1] * (column.ndim - 1)) & (column >= 0)
            counts = torch.zeros(self.codebook_size, device=indices.device)
            counts = counts.index_add_(0, column.clamp(min=0).reshape(-1), present.float().reshape(-1))
            probabilities = counts / counts.sum().clamp(min=1)
            perplexities.append(torch.exp(-torch.special.xlogy(probabilities, probabilities).sum()))
            usages.append((counts > 0).float().mean())
        return torch.stack(perplexities), torch.stack(usages)

    @property
    def stochastic(self) -> bool:
        """Whether training draws random numbers."""
        parts = [part for part in self.modules() if isinstance(part, Quantizer)]
        return any(part.draws or part.estimator == "diveq" for part in parts)

    @property
    def config(self) -> QuantizerConfig:
        """Name and arguments for `from_config`; ValueError where the class or an argument is not in the registry."""
        return stored_quantizer(self)

    @classmethod
    def from_config(cls, config: QuantizerConfig) -> Any:
        """Build the untrained quantizer of a config."""
        made = built_quantizer(config)
        if not isinstance(made, cls):
            raise UserError(f"the config is of a {type(made).__name__}, not of a {cls.__name__}")
        return made

    def _rows(
        self,
        flat: Float[Tensor, "N D"],
        valid: Bool[Tensor, " N"],
        whole: bool,
        items: int,
        generator: torch.Generator | None,
    ) -> tuple[Rows, Callable[[Tensor], Tensor]]:
        """The rows to quantize, and a function that scatters results for them back to all N vectors."""
        item = torch.arange(items, device=flat.device)[:, None].expand(-1, len(flat) // max(1, items)).reshape(-1)
        if not self.training:
            weight = valid.float() / valid.sum().clamp(min=1)
            clean = torch.where(valid[:, None], flat, 0.0)
            return Rows(clean, weight, item, items), lambda out: torch.where(_like(valid, out), out, 0)
        kept = flat if whole else flat[valid]
        seed = noise_seed(kept, generator) if self.stochastic else 0
        if whole:
            return Rows(kept, None, item, items, seed), lambda out: out
        place = valid.nonzero()[:, 0]
        rows = Rows(kept, None, item[valid], items, seed)
        return rows, lambda out: out.new_zeros(len(flat), *out.shape[1:]).index_copy(0, place, out)


def _like(valid: Bool[Tensor, " N"], out: Tensor) -> Tensor:
    return valid.reshape(-1, *[1] * (out.ndim - 1))
