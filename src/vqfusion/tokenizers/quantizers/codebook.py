"""Learned codebooks: initialisation by k-means, usage counts, and replacement of dead codes."""

import warnings
from abc import abstractmethod

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from vqfusion.tokenizers.nearest import nearest_code
from vqfusion.tokenizers.quantizers.base import Quantizer

CANDIDATES = 4096  # vectors of a step from which k-means and replacements of dead codes are drawn
MOST_BATCHES = 100  # batches per optimizer step that are expected at most
GOLDEN_RATIO = (1 + 5**0.5) / 2


class CodebookQuantizer(Quantizer):
    """A quantizer whose codes are the rows of `codes()`."""

    @abstractmethod
    def codes(self) -> Float[Tensor, "K D"]:
        """Code vectors."""

    def nearest(self, x: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
        return nearest_code(x, self.codes())

    def lookup(self, indices: Int[Tensor, "..."]) -> Float[Tensor, "... D"]:
        return F.embedding(indices, self.codes())


class LearnedCodebook(CodebookQuantizer):
    """A codebook that is initialised by k-means, counts the use of its codes, and replaces those that are not used.

    A training forward pass only collects; `update()` acts once per optimizer step, whatever was recomputed, accumulated
    or distributed over processes in between. A code whose moving count falls below `threshold_ema_dead_code` times the
    average is replaced by a vector of the batch; the threshold is relative, so that it does not depend on the batch
    size. Vectors far from their codes are drawn more often: Arthur, Vassilvitskii (2007), "k-means++". Subclasses hold
    `codebook`, as a buffer or as a parameter.

    Args:
        dim: Dimension of the vectors.
        codebook_size: Number of codes.
        num_embeddings: Alias of `codebook_size`.
        embedding_dim: Alias of `dim`.
        commitment_weight: Weight of the commitment loss.
        decay: Decay of the moving averages, in [0, 1].
        kmeans_init: Whether k-means on the first batch initialises the codebook.
        threshold_ema_dead_code: A code is dead below this fraction of the average count; 0 replaces none.
        estimator: Gradient estimator, see `Quantizer`.
        channel_first: Layout, see `Quantizer`.
    """

    codebook: Tensor
    updates: Tensor
    config_keys = ("dim", "codebook_size", "decay")

    def __init__(
        self,
        dim: int | None,
        codebook_size: int | None,
        *,
        num_embeddings: int | None = None,
        embedding_dim: int | None = None,
        commitment_weight: float = 0.25,
        decay: float = 0.99,
        kmeans_init: bool = True,
        threshold_ema_dead_code: float = 0.1,
        estimator: str = "ste",
        channel_first: bool = False,
    ):
        size, width = codebook_size or num_embeddings, dim or embedding_dim
        if not size or not width:
            raise ValueError("give codebook_size (or num_embeddings) and dim (or embedding_dim)")
        super().__init__(width, size, channel_first, estimator)
        self.commitment_weight = commitment_weight
        self.decay = decay
        self.threshold_ema_dead_code = threshold_ema_dead_code
        self.register_buffer("ema_counts", torch.ones(size))
        self.register_buffer("updates", torch.tensor(0))
        self.register_buffer("initialized", torch.tensor(not kmeans_init))
        self._counts = torch.zeros(size)
        self._candidates: list[Tensor] = []

    def codes(self) -> Float[Tensor, "K D"]:
        return self.codebook

    @torch.no_grad()
    def prepare(self, x: Float[Tensor, "N D"]) -> None:
        if self.initialized or (not len(x) and not is_distributed()):
            return
        vectors = gather(thin(x, 8 * CANDIDATES))
        if len(vectors):
            self.start(kmeans(vectors, self.codebook_size), vectors)
            self.ema_counts.fill_(1.0)
            self.initialized.fill_(True)

    def start(self, codebook: Float[Tensor, "K D"], vectors: Float[Tensor, "N D"]) -> None:
        """Take over the codebook that k-means found in these vectors."""
        self.codebook.copy_(codebook)

    @torch.no_grad()
    def observe(self, x: Float[Tensor, "N D"], indices: Int[Tensor, " N"]) -> None:
        if torch._C._current_graph_task_id() == -1:  # not in backward, where activation checkpointing recomputes
            self.collect(x, indices)

    def collect(self, x: Float[Tensor, "N D"], indices: Int[Tensor, " N"]) -> None:
        """Add to the counts of this step, and keep some vectors with their squared distances to replace dead codes."""
        self._counts = self._counts.to(x.device).index_add_(0, indices, torch.ones_like(indices, dtype=torch.float32))
        some, chosen = thin(x, CANDIDATES), thin(indices, CANDIDATES)
        distances = (some - self.lookup(chosen)).square().sum(dim=1, keepdim=True)
        self._candidates.append(torch.cat([some, distances], dim=1))
        if not torch.compiler.is_compiling() and len(self._candidates) > MOST_BATCHES:
            self._candidates = [thin(torch.cat(self._candidates), CANDIDATES)]
            if not self.updates:
                warnings.warn(
                    f"{MOST_BATCHES} batches without an update: averages and dead codes are not updated; call "
                    "quantizer.attach(optimizer) once, or quantizer.update() after each of its steps",
                    stacklevel=2,
                )

    @torch.no_grad()
    def update(self) -> None:
        """Update the counts over all processes, move the codebook, and replace dead codes."""
        if not self._candidates:
            return
        self.ema_counts.lerp_(all_sum(self._counts), 1 - self.decay)
        self.move()
        self._revive()
        self.updates += 1
        self._counts, self._candidates = torch.zeros_like(self._counts), []

    def move(self) -> None:
        """Move the codebook by the collected statistics; a codebook learned by gradient does not move here."""

    def restart(self, dead: Bool[Tensor, " K"], vectors: Float[Tensor, "M D"], count: Float[Tensor, ""]) -> None:
        """Replace `dead` codes by `vectors`, with the moving count `count`."""
        self.codebook[dead] = vectors
        self.ema_counts[dead] = count

    def _revive(self) -> None:
        """Replace dead codes by vectors drawn in proportion to the squared distance to their codes."""
        average = self.ema_counts.mean()
        dead = self.ema_counts < self.threshold_ema_dead_code * average
        if not dead.any():
            return
        candidates = gather(thin(torch.cat(self._candidates), CANDIDATES))
        number = int(dead.sum())
        if not len(candidates):
            return
        generator = torch.Generator().manual_seed(int(self.updates))
        distances = candidates[:, -1].cpu().double()
        weights = distances + 1e-6 * distances.mean() + 1e-30  # all positive, so that every vector can be drawn
        drawn = torch.multinomial(weights, min(number, len(weights)), generator=generator)
        chosen = drawn.repeat(-(-number // len(drawn)))[:number].to(candidates.device)  # again where too few
        self.restart(dead, candidates[chosen, :-1], average)  # the average count delays the next replacement


def initial_codes(size: int, dim: int) -> Float[Tensor, "K D"]:
    """Gaussian codes of expected squared norm one, the same in every call."""
    return torch.randn(size, dim, generator=torch.Generator().manual_seed(0)) / dim**0.5


def is_distributed() -> bool:
    """Whether several processes train together; not asked in constructors, before the process group exists."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def all_sum(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Sum over processes, in place."""
    if is_distributed():
        dist.all_reduce(x)
    return x


def all_mean(x: Float[Tensor, "..."], count: int) -> Float[Tensor, "..."]:
    """Mean over the vectors of all processes, from the mean `x` over the `count` vectors of this one.

    The gradient is that of this process's own mean; data-parallel training averages the gradients.
    """
    if not is_distributed():
        return x
    own = x.detach()
    total = all_sum(torch.tensor(float(count), dtype=torch.float64, device=x.device))
    return x + (all_sum(own * count) / total.to(x.dtype).clamp(min=1) - own)


def thin(x: Shaped[Tensor, "N ..."], most: int) -> Shaped[Tensor, "M ..."]:
    """At most `most` rows, one from each of as many equal stretches of the batch.

    The position within a stretch follows multiples of the golden ratio: a fixed step would select the same few columns
    of a grid of vectors again and again.
    """
    if len(x) <= most:
        return x
    stretch = torch.arange(most, dtype=torch.float64)
    return x[((stretch + stretch * GOLDEN_RATIO % 1) * (len(x) / most)).long().to(x.device)]


def gather(x: Float[Tensor, "N D"]) -> Float[Tensor, "M D"]:
    """Vectors of all processes in the order of their ranks."""
    if not is_distributed():
        return x
    parts: list[Tensor | None] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, x.cpu())
    return torch.cat([p for p in parts if p is not None]).to(x.device)


def kmeans(x: Float[Tensor, "N D"], size: int, iterations: int = 10) -> Float[Tensor, "K D"]:
    """Lloyd's algorithm, initialised with random vectors; deterministic, so that all processes agree."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(max(len(x), size), generator=generator)[:size] % len(x)
    centers = x[order.to(x.device)].float().clone()
    for _ in range(iterations):
        indices = nearest_code(x, centers)
        counts = torch.bincount(indices, minlength=size)
        sums = torch.zeros_like(centers).index_add_(0, indices, x.float())
        centers = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centers)
    return centers
