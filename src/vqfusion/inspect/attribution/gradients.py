"""Attributions from gradients, as baselines."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.inspect.attribution.scoring import Scorer
from vqfusion.models.fusion.fusion import module_key


def gradient_times_input(scorer: Scorer) -> Float[Tensor, " U"]:
    """Gradient of the score with respect to embedded tokens or frames, times these (Shrikumar et al., 2016).

    Args:
        scorer: Score of the answer.

    Returns:
        The sum over each unit.
    """
    with _embedded(scorer, torch.ones(1)) as seen:
        total = scorer.of_prefix(scorer.prefix(torch.ones(1, scorer.units.count, dtype=torch.bool))).sum()
    grads = torch.autograd.grad(total, [point for point, _ in seen.values()])
    parts = zip(seen.items(), grads, strict=True)
    return scorer.units.by_unit({name: (grad * point).sum(dim=-1)[0].detach() for (name, (point, _)), grad in parts})


def integrated_gradients(scorer: Scorer, points: int = 32) -> Float[Tensor, " U"]:
    """Integrated gradients (Sundararajan, Taly, Yan, 2017) from hidden tokens, or frames of zeros, to those given.

    Args:
        scorer: Score of the answer.
        points: Points of the midpoint rule.

    Returns:
        The sum over each unit; these sum to the score of what is given minus that of hidden tokens, up to the error of
        the rule.
    """
    shares = (torch.arange(points) + 0.5) / points
    with _embedded(scorer, shares) as seen:
        total = scorer.of_prefix(scorer.prefix(torch.ones(points, scorer.units.count, dtype=torch.bool))).sum()
    grads = torch.autograd.grad(total, [point for point, _ in seen.values()])
    parts = zip(seen.items(), grads, strict=True)
    return scorer.units.by_unit(
        {name: (grad.mean(dim=0) * way[0]).sum(dim=-1).detach() for (name, (_, way)), grad in parts}
    )


@contextmanager
def _embedded(scorer: Scorer, shares: Float[Tensor, " M"]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Context in which what is given is moved to a `share` of the way from hidden tokens or zeros.

    Yields, by slot, the moved input and the whole way, which are filled in as the slots are embedded.
    """
    fusion, seen = scorer.fusion, dict[str, tuple[Tensor, Tensor]]()
    waiting = [name for name in fusion.config.slots if name in scorer.units.items]

    def moved(value: Tensor, start: Tensor) -> Tensor:
        way = (value - start).detach()
        share = shares.to(value.device).view(-1, *[1] * (value.ndim - 1))
        point = (start + share * way).detach().requires_grad_()
        seen[waiting.pop(0)] = point, way
        return point

    def frames(_: nn.Module, given: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        return moved(given[0], torch.zeros_like(given[0])), given[1]

    def tokens(embedding: nn.Module, _: tuple[Tensor], out: Tensor) -> Tensor | None:
        assert isinstance(embedding, nn.Embedding)
        return moved(out, embedding.weight[-1].expand_as(out)) if waiting else None

    slots = scorer.units.slots
    stems = [fusion.stems[module_key(name)] for name in waiting if slots[name].features]
    embeddings = {fusion.embeddings[module_key(slots[name].tokenizer)] for name in waiting if not slots[name].features}
    with ExitStack() as hooks:
        for stem in stems:
            hooks.callback(stem.register_forward_pre_hook(frames).remove)
        for embedding in embeddings:
            hooks.callback(embedding.register_forward_hook(tokens).remove)
        yield seen
