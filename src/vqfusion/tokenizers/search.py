"""Search for codes that decode with a smaller error than the nearest ones: analysis by synthesis."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.tokenizers.quantizers import Quantizer

Error = Callable[[Tensor], Tensor]
"""From code vectors, in the layout of the quantizer, to the error `[B]` of their decoding; differentiable."""

WIDEST = 1 / 8  # fraction of the positions in the largest group of the first round
ALONE = 5  # positions that are tried one by one in the rounds without groups
REST = 20  # rounds for which a change that increased the error is not tried again
LEARNING = 0.3  # weight of the last measurement in the running curvature of a position
BOLDNESS = 0.3  # factor of the curvature when single changes are ranked: with 1, good ones would go untried
SHRINKING = 0.7  # fraction of the rounds in which the groups shrink to one


@torch.no_grad()
def search_codes(
    indices: Int[Tensor, "B *grid"], quantizer: Quantizer, error: Error, rounds: int
) -> Int[Tensor, "B *grid"]:
    """Find codes with a smaller error than the given ones; the error of no item increases.

    The nearest code is the best one only where the decoder passes on all errors of the vectors alike. As speech coders
    do (Schroeder, Atal, 1985, "Code-excited linear prediction"), this search looks at the decoded signal instead: with
    g the gradient of the error at code q, another code c is expected to change the error by g (c - q) + h |c - q|^2 /
    2. The changes with the best expectation are decoded in disjoint groups, which shrink from round to round; the best
    group, or the union of all groups that reduced the error, is kept if it does reduce the error. The curvature h of
    each position is estimated from the changes tried there. The search is deterministic, and items do not affect each
    other.

    A round takes one gradient, five or six decodings of the batch, and memory for about ten arrays of batch x positions
    x codebook in float32.

    Args:
        indices: Codes to start from, usually the nearest.
        quantizer: Quantizer of the codes, with one code per vector.
        error: Error `[B]` of the decoded code vectors, differentiable.
        rounds: Number of rounds.

    Returns:
        Indices in the shape of `indices`.

    Raises:
        ValueError: The quantizer has several codes per vector.
    """
    if quantizer.index_axes or quantizer.downsampling > 1:
        raise ValueError(f"the search takes one code for a vector, {type(quantizer).__name__} gives several")
    if quantizer.codebook_size == 1:
        return indices
    search = _Search(indices, quantizer, error)
    widest = max(1, int(WIDEST * search.chosen.shape[1]))
    for step in range(rounds):
        search.round(int(widest ** (1 - step / (SHRINKING * rounds))) if step < SHRINKING * rounds else 1)
    return search.chosen.unflatten(1, indices.shape[1:])


class _Search:
    """State of the search: the current codes `chosen` `[B, P]` and what is known about changes to them."""

    def __init__(self, indices: Int[Tensor, "B *grid"], quantizer: Quantizer, error: Error):
        self.quantizer, self.error, self.grid = quantizer, error, indices.shape[1:]
        self.chosen = indices.flatten(1)
        self.codes = quantizer.lookup(torch.arange(quantizer.codebook_size, device=indices.device))
        self.item = torch.arange(len(indices), device=indices.device)[:, None]
        self.resting = torch.zeros(*self.chosen.shape, len(self.codes), dtype=torch.int8, device=indices.device)
        self.curvature = torch.empty(0)  # of each position; set in the first round

    def round(self, width: int) -> None:
        """One gradient, trials of groups of up to `width` changes, and the best of them."""
        now, gradient = self._gradient()
        slope, distance = self._to_other_codes(gradient)
        if not self.curvature.numel():
            spacing = distance.topk(2, largest=False).values[..., 1].clamp(min=1e-12).sqrt()
            self.curvature = (gradient.norm(dim=-1) / spacing).mean(dim=1, keepdim=True).expand(self.chosen.shape)
        order, code = self._suggestions(slope, distance, 1.0 if width > 1 else BOLDNESS)
        union, trials, errors = self.chosen, [], []
        for positions in _groups(order, width):
            new = code.gather(1, positions)
            trials.append(self.chosen.scatter(1, positions, new))
            errors.append(self._errors(trials[-1]))
            harmful = (errors[-1] >= now)[:, None]
            union = torch.where(harmful, union, union.scatter(1, positions, new))
            self.resting[self.item, positions, new] = (REST * harmful).to(torch.int8).expand_as(positions)
            bend = errors[-1] - now - slope[self.item, positions, new].sum(dim=1)
            self._learn(positions, 2 * bend / distance[self.item, positions, new].sum(dim=1).clamp(min=1e-12))
        trials.append(union)
        errors.append(self._errors(union))
        least, which = torch.stack(errors).min(dim=0)
        best = torch.stack(trials)[which, self.item[:, 0]]
        self.chosen = torch.where((least < now)[:, None], best, self.chosen)

    def _errors(self, chosen: Int[Tensor, "B P"]) -> Float[Tensor, " B"]:
        return self.error(self.quantizer.indices_to_codes(chosen.unflatten(1, self.grid)))

    def _gradient(self) -> tuple[Float[Tensor, " B"], Float[Tensor, "B P D"]]:
        """Current error, and its gradient at the current codes."""
        vectors = self.quantizer.indices_to_codes(self.chosen.unflatten(1, self.grid)).detach().requires_grad_()
        with torch.enable_grad():
            now = self.error(vectors)
            (gradient,) = torch.autograd.grad(now.sum(), vectors)
        return now.detach(), self.quantizer.vectors_last(gradient).flatten(1, -2)

    def _to_other_codes(
        self, gradient: Float[Tensor, "B P D"]
    ) -> tuple[Float[Tensor, "B P K"], Float[Tensor, "B P K"]]:
        """First-order change of the error, and squared distance, for a change to every other code."""
        here = self.codes[self.chosen]
        slope = gradient @ self.codes.T - (gradient * here).sum(dim=-1, keepdim=True)
        lengths = self.codes.square().sum(dim=1) + here.square().sum(dim=-1, keepdim=True)
        return slope, (lengths - 2 * here @ self.codes.T).clamp(min=0)

    def _suggestions(
        self, slope: Float[Tensor, "B P K"], distance: Float[Tensor, "B P K"], care: float
    ) -> tuple[Int[Tensor, "B P"], Int[Tensor, "B P"]]:
        """Positions by expected change, the best first, and the best other code at each position."""
        promised = slope + 0.5 * care * self.curvature[..., None] * distance
        promised.scatter_(2, self.chosen[..., None], torch.inf).masked_fill_(self.resting > 0, torch.inf)
        self.resting.sub_(1).clamp_(min=0)
        best, code = promised.min(dim=-1)
        return best.argsort(dim=1), code

    def _learn(self, positions: Int[Tensor, "B G"], measured: Float[Tensor, " B"]) -> None:
        """Update the curvature of a group by a measured one; a negative measurement only reduces it."""
        old = self.curvature.gather(1, positions)
        new = torch.where(measured[:, None] > 0, old.lerp(measured[:, None].expand_as(old), LEARNING), 0.9 * old)
        self.curvature = self.curvature.scatter(1, positions, new)


def _groups(order: Int[Tensor, "B P"], width: int) -> Iterator[Int[Tensor, "B G"]]:
    """Disjoint groups of positions from the front of an order, the largest last."""
    sizes = [max(1, width // part) for part in (8, 4, 2, 1)] if width > 1 else [1] * ALONE
    start = 0
    for size in sizes:
        if start < order.shape[1]:
            yield order[:, start : start + size]
        start += size
