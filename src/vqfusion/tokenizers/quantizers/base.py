"""The contract of every quantizer: layout, masks, straight-through gradient and statistics."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from vqfusion.types import Quantized


class Quantizer(nn.Module, ABC):
    """Maps vectors to the nearest of `codebook_size` codes.

    Input `[B, *grid, dim]`, or `[B, dim, *grid]` when built with `channel_first=True`, at any rank;
    `mask` `[B, *grid]`, True = real. Masked vectors come back as zeros with index 0 and enter neither loss
    nor statistics, and so do vectors that are not finite. Q(Q(z)) = Q(z), and the gradient passes straight
    through. Subclasses give `nearest` and `lookup`, and may add losses.
    """

    def __init__(self, dim: int, codebook_size: int, channel_first: bool = False):
        super().__init__()
        self.dim = dim
        self.codebook_size = codebook_size
        self.channel_first = channel_first

    @abstractmethod
    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
        """Index of the code of each vector."""

    @abstractmethod
    def lookup(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
        """Code vector of each index."""

    @abstractmethod
    def quantization_losses(
        self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Weighted loss and its unweighted parts for the real, finite vectors of a batch."""

    def observe(self, x: Float[Tensor, "N D"], indices: Int[Tensor, " N"]) -> None:
        """Collect what a later `update` needs; called in training for real, finite vectors."""

    def prepare(self, x: Float[Tensor, "N D"]) -> None:
        """Initialise from the first training batch; called in training for real, finite vectors."""

    def update(self) -> None:
        """Move the codebook once; the training loop calls it after each optimizer step."""

    def forward(self, x: Float[Tensor, "B ..."], mask: Bool[Tensor, "B ..."] | None = None) -> Quantized:
        vectors = x.movedim(1, -1) if self.channel_first else x
        if vectors.shape[-1] != self.dim:
            raise ValueError(
                f"the quantizer was built for vectors of {self.dim}, the input has {vectors.shape[-1]} "
                f"({'channels first' if self.channel_first else 'vectors last'})"
            )
        grid, flat = vectors.shape[:-1], vectors.reshape(-1, self.dim)
        finite = flat.isfinite().all(dim=1)
        real = torch.ones_like(finite) if mask is None else mask.reshape(-1)
        valid = real & finite
        clean = torch.where(valid[:, None], flat, 0.0).float()

        if self.training:
            self.prepare(clean.detach()[valid])
        indices = torch.where(valid, self.nearest(clean), 0)
        codes = self.lookup(indices)
        if self.training:
            self.observe(clean.detach()[valid], indices[valid])
        weight = valid.float() / valid.sum().clamp(min=1)  # a mean over the valid vectors that stays graph-clean
        error = ((clean.detach() - codes.detach()).square().mean(dim=1) * weight).sum()
        loss, losses = self.quantization_losses(clean * valid[:, None], codes * valid[:, None])
        scale = valid.numel() / valid.sum().clamp(min=1)  # the losses are means over all rows; zeros do not count

        straight_through = flat.nan_to_num() + (codes.to(flat.dtype) - flat.nan_to_num()).detach()
        quantized = torch.where(valid[:, None], straight_through, 0.0).reshape(*grid, self.dim)
        counts = torch.zeros(self.codebook_size, device=x.device).index_add_(0, indices, valid.float())
        probabilities = counts / counts.sum().clamp(min=1)
        return Quantized(
            quantized=quantized.movedim(-1, 1) if self.channel_first else quantized,
            indices=indices.reshape(grid),
            loss=loss * scale,
            losses={name: value * scale for name, value in losses.items()},
            perplexity=torch.exp(-torch.special.xlogy(probabilities, probabilities).sum()),
            usage=(counts > 0).float().mean(),
            quantization_error=error,
            nonfinite=(real & ~finite).sum(),
        )

    def indices_to_codes(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Code vectors in the layout of the input: `[B, *grid]` to `[B, *grid, dim]` (or channels first)."""
        codes = self.lookup(indices)
        return codes.movedim(-1, 1) if self.channel_first else codes

    def codes_to_indices(self, codes: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """Inverse of `indices_to_codes`."""
        vectors = codes.movedim(1, -1) if self.channel_first else codes
        return self.nearest(vectors.reshape(-1, self.dim).float()).reshape(vectors.shape[:-1])
