"""Sampling of one slot for a batch of items: generators, candidate lengths, fixed tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vqfusion.diffusion.noise import torch_seed
from vqfusion.models.fusion.fusion import Fusion, SlotTokens
from vqfusion.models.fusion.generate import Policy, sample_slot, slot_distribution
from vqfusion.models.fusion.slots import check_slot, length_slot, patch_size, stack_tokens
from vqfusion.models.sampling import Sampling
from vqfusion.nn.transformer import PrefixCache

LENGTHS_TRIED = 6  # most candidate lengths of greedy decoding: the length beam of Ghazvininejad et al. (2019)

Fixed = tuple[Tensor, Tensor] | None  # ids of an item, and mask that is True for known tokens


@dataclass(frozen=True)
class Drawn:
    """Tokens of one sample.

    Attributes:
        ids: The tokens `[*grid]`.
        steps: The step at which each was fixed, from 1; 0 where it was known.
        log_p: Log probability of each when it was fixed; 0 where it was known.
    """

    ids: Tensor
    steps: Tensor
    log_p: Tensor


def draw_slot(
    fusion: Fusion,
    target: str,
    prefix: PrefixCache,
    fixed: Sequence[Fixed],
    shapes: Sequence[tuple[int, ...] | None],
    sampling: Sampling,
    indices: Sequence[int],
) -> tuple[list[list[Drawn]], int]:
    """Draw samples of a slot for a batch of items.

    Greedy decoding wants the text and length of the largest joint probability. A text is at most as probable as its
    length, so that a length less probable than the best answer so far is never decoded, and a text that falls below it
    is left unfinished; neither changes the answer.

    Args:
        fusion: The transformer.
        target: Slot to sample.
        prefix: Cached given slots, one row for each item.
        fixed: Known tokens of each item.
        shapes: Grid of each item, for all items; or None for all, where lengths are sampled too.
        sampling: Sampling settings.
        indices: Numbers of the items, from which their seeds follow.

    Returns:
        Tokens `[item][k]`, and the number of network evaluations.
    """
    slot, k = check_slot(target, fusion.config.slots), sampling.samples
    policy, device = Policy.of(sampling, slot), fusion.sink.device
    generators = seeded_generators(sampling, indices)
    wide = prefix.repeat(k)
    starts = [one for one in fixed for _ in range(k)]
    known = [one for one in shapes if one is not None]
    if known:
        lengths, scores = [[one] for one in known for _ in range(k)], torch.zeros(len(generators), 1)
    else:
        lengths, scores = candidate_lengths(fusion, target, wide, policy, starts, generators)
    best: dict[int, Drawn] = {}
    bounds = torch.full((len(starts),), -torch.inf, dtype=torch.float64)
    calls = 0 if known else 1
    for tried in (slice(0, 1), slice(1, None)):  # the most probable length, then those that can still do better
        rows = [(row, i) for row in range(len(starts)) for i in range(len(lengths[row]))[tried]]
        rows = [(row, i) for row, i in rows if scores[row, i] > bounds[row]]
        if not rows:
            continue
        items = torch.tensor([row for row, _ in rows])
        own = torch.stack([scores[row, i] for row, i in rows])
        ids, mask, hidden = start_tokens([(starts[row], lengths[row][i]) for row, i in rows])
        tokens = SlotTokens(ids.to(device), None if mask is None else mask.to(device))
        part = wide if len(items) == len(starts) and items.equal(torch.arange(len(starts))) else wide.select(items)
        many = [generators[row] for row, _ in rows]
        out = sample_slot(fusion, target, tokens, hidden.to(device), part, policy, many, bounds[items] - own)
        calls += out.nfe
        grids = zip(out.ids.cpu(), out.steps.cpu(), out.log_p.cpu(), strict=True)
        for (row, i), made, score in zip(rows, grids, (out.log_probability + own).tolist(), strict=True):
            if score > bounds[row] or row not in best:
                bounds[row] = score
                best[row] = Drawn(*(one[: lengths[row][i][0]] if slot.variable else one for one in made))
    return [[best[i * k + j] for j in range(k)] for i in range(len(indices))], calls


def seeded_generators(sampling: Sampling, indices: Sequence[int]) -> list[torch.Generator]:
    """One generator for each sample of each item, in the order of items."""
    seeds = [sampling.seed_of(index, k) for index in indices for k in range(sampling.samples)]
    return [torch.Generator().manual_seed(torch_seed(one)) for one in seeds]


def start_tokens(rows: Sequence[tuple[Fixed, tuple[int, ...]]]) -> tuple[Tensor, Tensor | None, Tensor]:
    """Initial ids with the fixed tokens in place, the mask where lengths differ, and the mask of tokens to sample."""
    ids, mask = stack_tokens([torch.zeros(size, dtype=torch.int64) for _, size in rows])
    hidden = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.clone()
    for row, (start, size) in enumerate(rows):
        if start is not None:
            value, keep = start
            region = tuple(slice(0, min(a, b)) for a, b in zip(value.shape, size, strict=True))
            ids[row][region] = torch.where(keep[region], value[region], ids[row][region])
            hidden[row][region] &= ~keep[region]
    return ids, mask, hidden


def candidate_lengths(
    fusion: Fusion,
    target: str,
    prefix: PrefixCache,
    policy: Policy,
    starts: Sequence[Fixed],
    generators: Sequence[torch.Generator],
) -> tuple[list[list[tuple[int, ...]]], Tensor]:
    """Candidate lengths in tokens for each row, and their log probabilities.

    Args:
        fusion: The transformer.
        target: Slot whose length is asked for.
        prefix: Cached keys and values of the given slots.
        policy: At temperature 0 the most probable lengths are tried, else one is drawn.
        starts: Fixed first tokens of each row, which no candidate is shorter than; None where there are none.
        generators: One for each row.

    Returns:
        `lengths[row][candidate]`, and log probabilities `[B, candidates]`, 0 where one was drawn.
    """
    slot = fusion.config.slots[target]
    log_p = slot_distribution(fusion, length_slot(target), prefix).cpu()
    patch = patch_size(slot)
    limit = slot.shape[0] // patch
    log_p[:, limit:] = -torch.inf
    for row, start in enumerate(starts):
        if start is not None:
            least = min(-(-len(start[0]) // patch), limit)
            log_p[row, : least - 1] = -torch.inf
    log_p = log_p.log_softmax(dim=1)
    if policy.temperature == 0:
        scores, best = log_p.topk(min(LENGTHS_TRIED, log_p.shape[1]), dim=1)
    else:
        best = torch.stack(
            [torch.multinomial(row.exp(), 1, generator=g) for row, g in zip(log_p, generators, strict=True)]
        )
        scores = torch.zeros_like(best, dtype=torch.float64)
    return [[((int(one) + 1) * patch,) for one in row] for row in best], scores
