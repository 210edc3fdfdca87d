"""How much each unit of what is given matters, from scores with some of the units left out."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# which units are kept [M, U] -> score of each row [M]
Score = Callable[[Bool[Tensor, "M U"]], Float[Tensor, " M"]]


def attribute(
    score: Score, units: int, evaluations: int, generator: torch.Generator
) -> tuple[Float[Tensor, " U"], Float[Tensor, " U"]]:
    """Shapley values of the units: exact where all subsets are affordable, else from sampled orders.

    Args:
        score: Scores of rows of kept units.
        units: Number of units, at least 1.
        evaluations: Number of evaluations that should not be exceeded; at least one pair of orders is taken.
        generator: Draws the orders.

    Returns:
        The value of each unit and its standard error; the values sum to the score with all units minus that with none.
    """
    if 2**units <= evaluations:
        return exact_shapley(score, units), torch.zeros(units, dtype=torch.float64)
    return sampled_shapley(score, units, max(2, evaluations // units), generator)


def exact_shapley(score: Score, units: int) -> Float[Tensor, " U"]:
    """Shapley values from all subsets of few units: Shapley (1953).

    Args:
        score: Scores of rows of kept units.
        units: Number of units.

    Returns:
        The value of each unit, from 2^`units` evaluations.
    """
    subsets = torch.arange(2**units)
    keep = (subsets[:, None] >> torch.arange(units)) & 1 == 1
    scores = score(keep).double()
    weight = torch.tensor([1 / (units * math.comb(units - 1, size)) for size in range(units)], dtype=torch.float64)
    values = []
    for unit in range(units):
        without = subsets[~keep[:, unit]]
        values.append((weight[keep[without].sum(dim=1)] * (scores[without | 1 << unit] - scores[without])).sum())
    return torch.stack(values)


def sampled_shapley(
    score: Score, units: int, permutations: int, generator: torch.Generator
) -> tuple[Float[Tensor, " U"], Float[Tensor, " U"]]:
    """Shapley values: what each unit adds to the score, averaged over orders in which units are added.

    Orders are drawn at random, each with its reverse: Castro, Gomez, Tejada (2009); Mitchell et al. (2022). The values
    sum to the score with all units minus that with none, whatever the number of orders.

    Args:
        score: Scores of rows of kept units.
        units: Number of units.
        permutations: Number of orders, rounded up to an even one.
        generator: Draws the orders.

    Returns:
        The value of each unit, and its standard error; from `permutations` * (`units` - 1) + 2 evaluations.
    """
    pairs = -(-permutations // 2)
    half = torch.stack([torch.randperm(units, generator=generator) for _ in range(pairs)])
    orders = torch.stack([half, half.flip(1)], dim=1).flatten(0, 1)
    place = orders.argsort(dim=1)  # of each unit
    keep = place[:, None] < torch.arange(1, units)[:, None]  # [orders, number of kept units, units]
    ends = torch.tensor([[False], [True]]).expand(2, units)
    scores = score(torch.cat([ends, keep.flatten(0, 1)]))
    empty, full = (one.expand(len(orders), 1) for one in scores[:2])
    steps = torch.cat([empty, scores[2:].view(len(orders), units - 1), full], dim=1).diff(dim=1)
    added = steps.gather(1, place).unflatten(0, (pairs, 2)).mean(dim=1)
    error = added.std(dim=0) / pairs**0.5 if pairs > 1 else torch.full((units,), torch.nan)
    return added.mean(dim=0), error
