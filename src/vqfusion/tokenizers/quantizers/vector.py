"""Vector quantization with a codebook that follows the data by exponential moving averages."""

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vqfusion.tokenizers.nearest import nearest_code
from vqfusion.tokenizers.quantizers.base import Quantizer

CANDIDATES = 4096  # vectors of a step that k-means and the revival of dead codes may draw from


class VectorQuantizer(Quantizer):
    """Nearest code of a learned codebook: van den Oord, Vinyals, Kavukcuoglu (2017), eq. 1-3, appendix A.1.

    `codebook_size` (alias `num_embeddings`) codes of `dim` (alias `embedding_dim`). A training forward only
    collects counts and sums; `update()` moves the codebook, once per optimizer step, whatever was
    recomputed, accumulated or spread over processes in between. `attach(optimizer)` calls it by itself.
    A code whose moving count falls under `threshold_ema_dead_code` times the average restarts at a vector of
    the batch: a share, so that the batch size does not decide who lives.
    """

    def __init__(
        self,
        codebook_size: int | None = None,
        dim: int | None = None,
        *,
        num_embeddings: int | None = None,
        embedding_dim: int | None = None,
        commitment_weight: float = 0.25,
        decay: float = 0.99,
        kmeans_init: bool = True,
        threshold_ema_dead_code: float = 0.1,
        channel_first: bool = False,
    ):
        size, width = codebook_size or num_embeddings, dim or embedding_dim
        if not size or not width:
            raise ValueError("give codebook_size (or num_embeddings) and dim (or embedding_dim)")
        super().__init__(dim=width, codebook_size=size, channel_first=channel_first)
        self.commitment_weight = commitment_weight
        self.decay = decay
        self.threshold_ema_dead_code = threshold_ema_dead_code
        codebook = torch.randn(size, width, generator=torch.Generator().manual_seed(0)) / width**0.5
        self.register_buffer("codebook", codebook)
        self.register_buffer("ema_counts", torch.ones(size))
        self.register_buffer("ema_sums", codebook.clone())
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("initialized", torch.tensor(not kmeans_init))
        self._counts = torch.zeros(size)
        self._sums = torch.zeros(size, width)
        self._candidates: list[Tensor] = []

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Move the codebook after each step of this optimizer."""
        optimizer.register_step_post_hook(lambda *_: self.update())

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
        return nearest_code(x, self.codebook)

    def lookup(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
        return F.embedding(indices, self.codebook)

    def quantization_losses(self, x: Float[Tensor, "N D"], codes: Float[Tensor, "N D"]):
        commitment = F.mse_loss(x, codes.detach())
        return self.commitment_weight * commitment, {"commitment": commitment}

    @torch.no_grad()
    def prepare(self, x: Float[Tensor, "N D"]) -> None:
        if self.initialized or (not len(x) and not _is_distributed()):
            return
        vectors = _gather(_thin(x, 8 * CANDIDATES))
        self.codebook.copy_(_kmeans(vectors, self.codebook_size))
        self.ema_sums.copy_(self.codebook)
        self.ema_counts.fill_(1.0)
        self.initialized.fill_(True)

    @torch.no_grad()
    def observe(self, x: Float[Tensor, "N D"], indices: Int[Tensor, " N"]) -> None:
        if torch._C._current_graph_task_id() != -1:  # activation checkpointing recomputes inside backward
            return
        if self._counts.device != x.device:
            self._counts, self._sums = self._counts.to(x.device), self._sums.to(x.device)
        self._counts.index_add_(0, indices, torch.ones_like(indices, dtype=torch.float32))
        self._sums.index_add_(0, indices, x)
        self._candidates.append(_thin(x, CANDIDATES))

    @torch.no_grad()
    def update(self) -> None:
        """EMA of counts and sums over all processes (appendix A.1, eq. 6-8), then revival of dead codes."""
        if not self._candidates:
            return
        counts, sums = self._counts, self._sums
        if _is_distributed():
            dist.all_reduce(counts)
            dist.all_reduce(sums)
        self.ema_counts.lerp_(counts, 1 - self.decay)
        self.ema_sums.lerp_(sums, 1 - self.decay)
        n = self.ema_counts.sum()
        smoothed = (self.ema_counts + 1e-5) / (n + self.codebook_size * 1e-5) * n
        self.codebook.copy_(self.ema_sums / smoothed[:, None])
        self._revive()
        self.updates += 1
        self._counts, self._sums, self._candidates = torch.zeros_like(counts), torch.zeros_like(sums), []

    def _revive(self) -> None:
        average = self.ema_counts.mean()
        dead = self.ema_counts < self.threshold_ema_dead_code * average
        vectors = _gather(_thin(torch.cat(self._candidates), CANDIDATES))
        if not dead.any() or not len(vectors):
            return
        generator = torch.Generator().manual_seed(int(self.updates))
        number = int(dead.sum())
        chosen = torch.randperm(max(len(vectors), number), generator=generator)[:number] % len(vectors)
        self.codebook[dead] = vectors[chosen.to(vectors.device)]
        self.ema_counts[dead] = average  # time to be found before it may die again
        self.ema_sums[dead] = self.codebook[dead] * average


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _thin(x: Float[Tensor, "N D"], most: int) -> Float[Tensor, "M D"]:
    """At most `most` vectors, evenly spread over the batch."""
    return x[:: -(-len(x) // most)] if len(x) > most else x


def _gather(x: Float[Tensor, "N D"]) -> Float[Tensor, "M D"]:
    """The vectors of all processes in the order of their ranks."""
    if not _is_distributed():
        return x
    parts: list[Tensor | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, x.cpu())
    return torch.cat([p for p in parts if p is not None]).to(x.device)


def _kmeans(x: Float[Tensor, "N D"], size: int, iterations: int = 10) -> Float[Tensor, "K D"]:
    """Lloyd's algorithm from random vectors; the same result on every process."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(max(len(x), size), generator=generator)[:size] % len(x)
    centers = x[order.to(x.device)].float().clone()
    for _ in range(iterations):
        indices = nearest_code(x, centers)
        counts = torch.bincount(indices, minlength=size)
        sums = torch.zeros_like(centers).index_add_(0, indices, x.float())
        centers = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centers)
    return centers
