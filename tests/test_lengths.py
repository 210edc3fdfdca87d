"""Lengths of answers: decided by their distribution, without decoding those that cannot win."""

import pytest
import torch

from vqfusion.config import FusionConfig, SlotConfig
from vqfusion.diffusion.masked.samplers import sample_masked
from vqfusion.models.fusion import draws
from vqfusion.models.fusion.draws import candidate_lengths, draw_slot, start_tokens
from vqfusion.models.fusion.fusion import Fusion, SlotTokens
from vqfusion.models.fusion.generate import Policy, sample_slot
from vqfusion.models.sampling import Sampling

SLOTS = {
    "label": SlotConfig(tokenizer="label", shape=(1,)),
    "text:en": SlotConfig(tokenizer="text", shape=(8,), variable=True, steps=8, temperature=0.0),
    "length:en": SlotConfig(tokenizer="length:text", shape=(1,), temperature=0.0),
}
SIZES = {"label": 5, "text": 7, "length:text": 8}


def fusion(certainty: float) -> Fusion:
    """A random network whose logits are scaled, so that it is more or less sure of lengths and tokens."""
    torch.manual_seed(3)
    made = Fusion(FusionConfig(dim=32, layers=2, heads=2, slots=SLOTS), SIZES).eval()
    with torch.no_grad():
        made.transformer.norm.weight.mul_(certainty)
    return made


@torch.no_grad()
def given(made: Fusion, batch: int):
    return made.prefix({"label": SlotTokens(torch.arange(batch)[:, None] % 5)}, batch)


@pytest.mark.parametrize("certainty", [0.3, 2.0, 6.0])
def test_pruned_lengths_give_the_answer_of_decoding_all(certainty):
    made, sampling = fusion(certainty), Sampling()
    found, calls = draw_slot(made, "text:en", given(made, 5), [None] * 5, [None] * 5, sampling, range(5))
    policy = Policy.of(sampling, SLOTS["text:en"])
    for item in range(5):
        prefix = given(made, 5).select(torch.tensor([item]))
        generators = [torch.Generator().manual_seed(0)]
        lengths, scores = candidate_lengths(made, "text:en", prefix, policy, [None], generators)
        answers = []
        for size, score in zip(lengths[0], scores[0].tolist(), strict=True):
            ids, _, hidden = start_tokens([(None, size)])
            out = sample_slot(made, "text:en", SlotTokens(ids), hidden, prefix, policy, generators)
            answers.append((score + float(out.log_probability), out.ids[0]))
        assert torch.equal(found[item][0].ids, max(answers, key=lambda one: one[0])[1])
    assert calls <= 1 + 2 * 8


def test_a_length_that_is_certain_is_decoded_alone(monkeypatch):
    made = fusion(1.0)

    def certain(*_):
        return [[(1,), (8,), (5,)]] * 2, torch.tensor([[0.9, 0.06, 0.04]] * 2).double().log()

    with torch.no_grad():  # every token is nearly certain too
        made.embeddings["text"].weight.zero_()
        made.embeddings["text"].weight[2] = 100.0
        made.heads["text"].weight.zero_()
        made.heads["text"].bias.fill_(1.0)
    monkeypatch.setattr(draws, "candidate_lengths", certain)
    found, calls = draw_slot(made, "text:en", given(made, 2), [None] * 2, [None] * 2, Sampling(), range(2))
    assert calls == 2 and [one[0].ids.tolist() for one in found] == [[2], [2]]


def test_certain_tokens_are_revealed_together_and_others_one_by_one():
    sure = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0.1, 0, 0], [0, 0, 9.0]])[None].repeat(2, 1, 1)
    sure[1] /= 100
    start, hidden = torch.zeros(2, 4, dtype=torch.int64), torch.ones(2, 4, dtype=torch.bool)
    generators = [torch.Generator() for _ in range(2)]

    def run(rows: slice, certain: float):
        return sample_masked(
            lambda ids, _: sure[rows][: len(ids)], start[rows], hidden[rows], 4, generators[rows], "confidence", 0.0,
            certain=certain,
        )  # fmt: skip

    assert run(slice(0, 1), 0.99).nfe == 2 and run(slice(1, 2), 0.99).nfe == 4 and run(slice(0, 1), 1.0).nfe == 4
    assert torch.equal(run(slice(0, 2), 0.99).ids, run(slice(0, 2), 1.0).ids)


def test_an_item_below_its_floor_stops():
    flat = torch.zeros(2, 6, 4)
    start, hidden = torch.zeros(2, 6, dtype=torch.int64), torch.ones(2, 6, dtype=torch.bool)
    generators = [torch.Generator() for _ in range(2)]
    floor = torch.full((2,), -2.0)
    out = sample_masked(lambda ids, _: flat, start, hidden, 6, generators, "confidence", 0.0, floor=floor)
    assert out.nfe == 2 and float(out.log_probability.max()) < -2.0
