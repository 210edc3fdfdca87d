"""Vector quantization with a codebook that is updated by exponential moving averages."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vqfusion.tokenizers.quantizers.codebook import LearnedCodebook, all_sum, initial_codes
from vqfusion.tokenizers.quantizers.rows import Rows


class VectorQuantizer(LearnedCodebook):
    """Nearest code of a learned codebook: van den Oord, Vinyals, Kavukcuoglu (2017), eq. 1-3, appendix A.1.

    `codebook_size` (alias `num_embeddings`) codes of dimension `dim` (alias `embedding_dim`); further arguments as in
    `LearnedCodebook`. A training forward pass only collects counts and sums; `update()` moves the codebook by their
    moving averages, and `attach(optimizer)` calls it after each optimizer step.
    """

    def __init__(self, dim: int | None = None, codebook_size: int | None = None, **options: Any):
        super().__init__(dim, codebook_size, **options)
        codebook = initial_codes(self.codebook_size, self.dim)
        self.register_buffer("codebook", codebook)
        self.register_buffer("ema_sums", codebook.clone())
        self._sums = torch.zeros_like(codebook)

    def quantization_losses(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"], rows: Rows):
        commitment = rows.distance(x, codes.detach())
        return self.commitment_weight * commitment, {"commitment": commitment}

    def start(self, codebook: Float[Tensor, "K D"], vectors: Float[Tensor, "N D"]) -> None:
        super().start(codebook, vectors)
        self.ema_sums.copy_(codebook)

    def collect(self, x: Float[Tensor, "N D"], indices: Int[Tensor, " N"]) -> None:
        super().collect(x, indices)
        self._sums = self._sums.to(x.device).index_add_(0, indices, x)

    def move(self) -> None:
        """Set codes to moving sums over moving counts, eq. 6-8 of the paper; counts are smoothed by 1e-5."""
        self.ema_sums.lerp_(all_sum(self._sums), 1 - self.decay)
        total = self.ema_counts.sum()
        smoothed = (self.ema_counts + 1e-5) / (total + self.codebook_size * 1e-5) * total
        self.codebook.copy_(self.ema_sums / smoothed[:, None])
        self._sums = torch.zeros_like(self._sums)

    def restart(self, dead: Bool[Tensor, " K"], vectors: Float[Tensor, "M D"], count: Float[Tensor, ""]) -> None:
        super().restart(dead, vectors, count)
        self.ema_sums[dead] = vectors * count
