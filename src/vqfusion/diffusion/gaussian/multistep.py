"""Samplers that use earlier predictions: DPM-Solver++ 2M and UniPC.

With lambda = log(alpha / sigma) the exact solution from time t to s is

    x_s = (sigma_s / sigma_t) x_t + alpha_s int_0^h e^-u x_0(lambda_s - u) du,   h = lambda_s - lambda_t

(Lu et al., 2022, "DPM-Solver++", proposition 4.1). Both put a polynomial in lambda for x_0.
"""

import math

import torch
from torch import Tensor

from vqfusion.diffusion.gaussian.walk import Walk, as_sampler
from vqfusion.watch import told

LONGEST_STRETCH = 2.0  # a step longer than this times the one before does not use earlier predictions


@as_sampler
def dpmpp_2m(walk: Walk) -> Tensor:
    """DPM-Solver++ 2M, order 2, one evaluation per step: Lu et al. (2022b), algorithm 2.

    A step much longer than the one before, or to sigma = 0, is of first order (DDIM). Arguments as in `Sampler`.
    """
    x, before = walk.start, None
    for i in told(range(walk.steps)):
        x0 = walk.read(x, i, "x0")
        mixed = x0
        if before is not None and _trusts_history(walk.log_ratio, i):
            r = (walk.log_ratio[i] - walk.log_ratio[i - 1]) / (walk.log_ratio[i + 1] - walk.log_ratio[i])
            mixed = x0 + (x0 - before) / (2 * r)
        x, before = walk.first_order(x, mixed, i), x0
    return x


@as_sampler
def unipc(walk: Walk, order: int = 2) -> Tensor:
    """UniPC: predictor of the given `order` and corrector, together of order + 1: Zhao et al. (2023).

    x_0(lambda) is the polynomial through the last `order` predictions and, in the corrector, the new one; its integral
    is exact. The evaluation at a predicted point serves the corrector and the next step, so that a step takes one
    evaluation. Other arguments as in `Sampler`.
    """
    x = walk.start
    known: list[tuple[float, Tensor]] = []  # (log ratio, x_0), newest first
    for i in told(range(walk.steps)):
        if not known:
            known = [(walk.log_ratio[i], walk.read(x, i, "x0"))]
        length = order if len(known) == 1 or _trusts_history(walk.log_ratio, i) else 1
        nodes = [node for node in known[:length] if math.isfinite(node[0])]
        guess = _integrate(walk, x, nodes or known[:1], i)
        if i + 1 == walk.steps:
            return guess
        new = (walk.log_ratio[i + 1], walk.read(guess, i + 1, "x0"))
        x = _integrate(walk, x, [new, *nodes], i) if nodes else guess
        known = [new, *known][:order]
    return x


def _trusts_history(log_ratio: list[float], i: int) -> bool:
    """Whether the step from time i may use earlier predictions."""
    if i == 0 or not math.isfinite(log_ratio[i + 1]):
        return False
    return log_ratio[i + 1] - log_ratio[i] <= LONGEST_STRETCH * (log_ratio[i] - log_ratio[i - 1])


def _integrate(walk: Walk, x: Tensor, nodes: list[tuple[float, Tensor]], i: int) -> Tensor:
    """Exact solution from time i to i + 1 for the polynomial x_0(lambda) through the nodes."""
    end = walk.log_ratio[i + 1]
    h = end - walk.log_ratio[i]
    if len(nodes) == 1 or not math.isfinite(h):
        return walk.first_order(x, nodes[0][1], i)
    powers = torch.arange(len(nodes), dtype=torch.float64)
    places = (end - torch.tensor([node[0] for node in nodes], dtype=torch.float64)) / h
    # int_0^h (u / h)^k e^-u du = k! P(k + 1, h) / h^k, with the regularised incomplete gamma function P
    width = torch.tensor(h, dtype=torch.float64)
    moments = torch.special.gammainc(powers + 1, width) * (torch.lgamma(powers + 1) - powers * width.log()).exp()
    weights = torch.linalg.solve(places[None] ** powers[:, None], moments).tolist()
    summed = sum(weight * x0 for weight, (_, x0) in zip(weights, nodes, strict=True))
    return walk.sigma[i + 1] / walk.sigma[i] * x + walk.alpha[i + 1] * summed
