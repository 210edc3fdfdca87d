"""Why a model answers as it does: how much each part of what is given changes the probability of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.diffusion.noise import torch_seed
from vqfusion.errors import UserError
from vqfusion.inspect.attribution.curves import Curves, curves
from vqfusion.inspect.attribution.estimators import attribute
from vqfusion.inspect.attribution.gradients import gradient_times_input
from vqfusion.inspect.attribution.scoring import AskedAnswer, Scorer
from vqfusion.inspect.attribution.units import GivenUnits
from vqfusion.models.fusion.draws import Drawn, draw_slot
from vqfusion.models.fusion.generate import given_prefix, slot_distribution
from vqfusion.models.fusion.given import Given, encode_given, given_shapes, samples_of, stacked
from vqfusion.models.fusion.slots import asked_slot, calibrated
from vqfusion.models.sampling import Sampling
from vqfusion.nn.transformer import PrefixCache
from vqfusion.types import Sample

if TYPE_CHECKING:
    from vqfusion.models.fusion.system import System

EVALUATIONS = 1024
RANDOM_ORDERS = 4  # of the random curve


@dataclass(frozen=True)
class Attribution:
    """How much each token or frame of one given slot changes the log probability of the answer.

    Attributes:
        sample: What was given.
        ids: Its tokens `[*grid]`, or its frames `[N, values]`.
        values: Nats that the unit of each token or frame adds, `[*grid]` or `[N]`; tokens that share a unit share them.
        total: Nats that the whole slot adds.
    """

    sample: Sample
    ids: Tensor
    values: Float[Tensor, "..."]
    total: float


@dataclass(frozen=True)
class Explanation:
    """Why a model answers as it does.

    Attributes:
        target: Slot of the answer.
        answer: The answer.
        answer_ids: Its tokens.
        log_p: Log probability of the answer given everything, in nats.
        log_p_of_nothing: Log probability of the answer given nothing.
        slots: Attribution of each given slot; all values of all units sum to `log_p - log_p_of_nothing`.
        units: Number of units that were kept or left out.
        error: Largest standard error of the value of a unit, in nats; 0 where all subsets were evaluated.
        curves: Deletion and insertion curves in the order of the attribution ("explain"), of gradient x input
            ("gradient") and the mean over random orders ("random").
        steps: For a generated slot: the step at which each token was fixed, from 1.
        certainty: For a generated slot: the probability of each token when it was fixed.
        warnings: Warnings of the model about what is given.
    """

    target: str
    answer: Sample
    answer_ids: Int[Tensor, "..."]
    log_p: float
    log_p_of_nothing: float
    slots: Mapping[str, Attribution]
    units: int
    error: float
    curves: Mapping[str, Curves]
    steps: Int[Tensor, "..."] | None = None
    certainty: Float[Tensor, "..."] | None = None
    warnings: tuple[str, ...] = field(default=())


def explain(
    system: "System",
    given: Given,
    target: str = "label",
    answer: str | None = None,
    sampling: Sampling | None = None,
    evaluations: int = EVALUATIONS,
) -> Explanation:
    """Explain the answer of a model: Shapley values of the positions of what is given, in nats.

    The positions are left out as in training, so that the log probability of the answer is that of the model for every
    part of what is given: Covert, Lundberg, Lee (2021), "removal-based explanations". Where many positions are given,
    neighbouring ones are left out together. For a slot of names, probabilities are the calibrated ones of
    `System.distribution`.

    Args:
        system: The model.
        given: Sample of each given slot, one item.
        target: Slot of the answer.
        answer: Name to explain, for slots of names; by default the most probable one.
        sampling: Seed, steps and temperature of a generated answer.
        evaluations: Parts of what is given for which the answer is scored, at most; more lower the standard error.

    Returns:
        The explanation.

    Raises:
        UserError: The model lacks a slot, nothing is given or more than one item, a sample does not fit its slot, or
            the target has no such name.
    """
    sampling = sampling or Sampling()
    slot = asked_slot(target, system.config)
    if target in given or not given:
        raise UserError(f"{target!r} is what is explained: give other slots of {', '.join(system.slots)}")
    ordered = sorted(given, key=[*system.config.fusion.slots, *given].index)  # whatever the order of the arguments
    samples = {name: samples_of(name, given[name]) for name in ordered}
    if not all(isinstance(one, Sample) for one in samples.values()):
        raise UserError("an explanation is of one item: give one sample for each slot")
    encoded, _ = encode_given(system.tokenizers, samples, None)
    items = {name: rows[0] for name, rows in encoded.items()}
    closed = system.tokenizers[target].closed
    if answer is not None and not closed:
        raise UserError(f"an answer can be chosen for a slot of names only, not for {target!r}")
    temperature = calibrated(slot, given) if closed else 1.0
    drawn = _named(system, items, target, answer) if closed else _drawn(system, items, target, sampling)
    units = GivenUnits.of(items, system.config.fusion.slots)
    scorer = Scorer(system.fusion, units, AskedAnswer(target, drawn.ids, drawn.steps, temperature))
    generator = torch.Generator().manual_seed(torch_seed(sampling.seed))
    values, error = attribute(scorer, units.count, evaluations, generator)
    ends = scorer(torch.tensor([[True], [False]]).expand(2, units.count)).tolist()
    return Explanation(
        target=target,
        answer=system.tokenizers.decode(target, drawn.ids),
        answer_ids=drawn.ids,
        log_p=ends[0],
        log_p_of_nothing=ends[1],
        slots={
            name: Attribution(one, items[name], units.on_grid(name, values), float(values[units.of_slot(name)].sum()))
            for name, one in samples.items()
        },
        units=units.count,
        error=float(error.max()),
        curves=_curves(scorer, values, generator),
        steps=None if closed else drawn.steps,
        certainty=None if closed else drawn.log_p.exp(),
        warnings=system.warnings(samples),
    )


def _named(system: "System", items: Mapping[str, Tensor], target: str, answer: str | None) -> Drawn:
    """A name, or the most probable one, as a sample of its slot."""
    if answer is None:
        best = slot_distribution(system.fusion, target, _prefix(system, items)).argmax(dim=1).cpu()
    else:
        best = system.tokenizers[target].encode(Sample("label", answer)).ids
    return Drawn(best, torch.ones_like(best), torch.zeros(1, dtype=torch.float64))


def _drawn(system: "System", items: Mapping[str, Tensor], target: str, sampling: Sampling) -> Drawn:
    """One sample of the target slot, as `System.generate` draws it."""
    slot, one = system.config.fusion.slots[target], replace(sampling, samples=1)
    shapes = given_shapes(target, slot, {name: [ids] for name, ids in items.items()}, 1)
    drawn, _ = draw_slot(system.fusion, target, _prefix(system, items), [None], shapes, one, [0])
    return drawn[0][0]


def _prefix(system: "System", items: Mapping[str, Tensor]) -> PrefixCache:
    given = {name: stacked([ids]).to(system.device) for name, ids in items.items()}
    with torch.no_grad():
        return given_prefix(system.fusion, given, 1)


def _curves(scorer: Scorer, values: Float[Tensor, " U"], generator: torch.Generator) -> dict[str, Curves]:
    """Curves of the attribution, of gradient x input, and the mean of those of random orders."""
    chance = [curves(scorer, torch.rand(len(values), generator=generator)) for _ in range(RANDOM_ORDERS)]
    mean = Curves(
        chance[0].shares,
        torch.stack([one.deletion for one in chance]).mean(dim=0),
        torch.stack([one.insertion for one in chance]).mean(dim=0),
    )
    gradient = curves(scorer, gradient_times_input(scorer))
    return {"explain": curves(scorer, values), "gradient": gradient, "random": mean}
