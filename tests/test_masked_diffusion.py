"""Masked diffusion against enumeration: samplers, bounds, guidance, draws."""

import itertools

import pytest
import torch

from vqfusion.diffusion.masked.guidance import classifier_free
from vqfusion.diffusion.masked.likelihood import negative_elbo
from vqfusion.diffusion.masked.path import (
    MaskedPath,
    draw_categorical,
    sampler_density,
    sampler_times,
    stratified_times,
)
from vqfusion.diffusion.masked.samplers import sample_masked

N, K = 3, 3
JOINT = torch.distributions.Dirichlet(torch.full((K**N,), 0.4, dtype=torch.float64))


@pytest.fixture(scope="module")
def joint() -> torch.Tensor:
    torch.manual_seed(1)
    return JOINT.sample().reshape(K, K, K)


def exact_denoiser(joint: torch.Tensor):
    """The posterior marginal of every hidden token given the visible ones, by enumeration."""
    states = torch.tensor(list(itertools.product(range(K), repeat=N)))
    p = joint.flatten()

    def denoise(ids, hidden):
        agrees = ((states[None] == ids[:, None]) | hidden[:, None]).all(dim=-1)
        weight = p[None] * agrees
        weight = weight / weight.sum(dim=1, keepdim=True)
        onehot = torch.nn.functional.one_hot(states, K).double()
        return torch.einsum("bs,snk->bnk", weight, onehot).clamp(min=1e-300).log()

    return denoise


def generators(n: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


def test_one_token_a_step_samples_the_joint(joint):
    n = 6000
    start = torch.zeros(n, N, dtype=torch.int64)
    out = sample_masked(
        exact_denoiser(joint), start, torch.ones(n, N, dtype=torch.bool), N, generators(n), order="random"
    )
    code = (out.ids * torch.tensor([K * K, K, 1])).sum(dim=1)
    counts = torch.bincount(code, minlength=K**N).double() / n
    assert float((counts - joint.flatten()).abs().sum() / 2) < 0.03  # total variation; 27 cells, 6,000 draws
    assert out.nfe == N


def test_given_tokens_never_change_and_are_conditioned_on(joint):
    n = 4000
    start = torch.zeros(n, N, dtype=torch.int64)
    start[:, 1] = 2
    hidden = torch.ones(n, N, dtype=torch.bool)
    hidden[:, 1] = False
    for order in ("random", "confidence"):
        out = sample_masked(exact_denoiser(joint), start, hidden, 5, generators(n), order=order)
        assert (out.ids[:, 1] == 2).all()
    out = sample_masked(exact_denoiser(joint), start, hidden, 5, generators(n), order="random")
    counts = torch.bincount(out.ids[:, 0] * K + out.ids[:, 2], minlength=K * K).double() / n
    wanted = (joint[:, 2] / joint[:, 2].sum()).flatten()
    assert float((counts - wanted).abs().sum() / 2) < 0.03


def test_a_batch_draws_what_each_item_draws_alone(joint):
    denoiser = exact_denoiser(joint)
    start, hidden = torch.zeros(8, N, dtype=torch.int64), torch.ones(8, N, dtype=torch.bool)
    together = sample_masked(denoiser, start, hidden, 2, generators(8)).ids
    alone = [sample_masked(denoiser, start[:1], hidden[:1], 2, generators(8)[i : i + 1]).ids[0] for i in range(8)]
    assert torch.equal(together, torch.stack(alone))


def test_rows_with_different_numbers_of_hidden_tokens_all_finish(joint):
    hidden = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    seen = []

    def denoiser(ids, mask):
        seen.append(mask.sum(dim=1))
        return exact_denoiser(joint)(ids, mask)

    sample_masked(denoiser, torch.zeros(3, N, dtype=torch.int64), hidden, 3, generators(3))
    assert all((a[0] < b[0]).item() for a, b in itertools.pairwise(reversed(seen))), "at least one token a step"


def test_greedy_takes_the_most_probable(joint):
    start, hidden = torch.zeros(1, N, dtype=torch.int64), torch.tensor([[True, False, False]])
    out = sample_masked(exact_denoiser(joint), start, hidden, 1, generators(1), temperature=0.0)
    assert int(out.ids[0, 0]) == int(joint[:, 0, 0].argmax())
    expected = (joint[:, 0, 0] / joint[:, 0, 0].sum()).max().log()
    assert torch.allclose(out.log_probability[0], expected, atol=1e-9)


def test_bound_is_the_mean_over_orders_and_above_the_exact_nll(joint):
    """With the exact denoiser every order has the same likelihood, so the bound is tight."""
    denoiser = exact_denoiser(joint)
    ids = torch.tensor(list(itertools.product(range(K), repeat=N)))
    real = torch.ones_like(ids, dtype=torch.bool)
    bound = negative_elbo(denoiser, ids, real, 3000, torch.Generator().manual_seed(0))
    exact = -joint.flatten().log()
    assert torch.allclose(bound, exact, rtol=0.08, atol=0.08)


def test_bound_of_a_wrong_denoiser_lies_above_its_exact_nll(joint):
    """An inconsistent denoiser: its exact likelihood is the mean of its orders' likelihoods (Jensen)."""
    tables = torch.randn(2**N, N, K, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 2

    def denoiser(ids, hidden):
        return tables[(hidden * torch.tensor([4, 2, 1])).sum(dim=1)]

    ids = torch.tensor([[0, 1, 2], [2, 2, 0]])
    orders = list(itertools.permutations(range(N)))
    likelihood, mean_nll = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for order in orders:
        nll, hidden = torch.zeros(2, dtype=torch.float64), torch.ones_like(ids, dtype=torch.bool)
        for place in order:
            log_p = denoiser(ids, hidden).log_softmax(dim=-1)
            nll -= log_p[torch.arange(2), place, ids[:, place]]
            hidden[:, place] = False
        likelihood += (-nll).exp() / len(orders)
        mean_nll += nll / len(orders)
    real = torch.ones_like(ids, dtype=torch.bool)
    bound = negative_elbo(denoiser, ids, real, 6000, torch.Generator().manual_seed(0))
    assert torch.allclose(bound, mean_nll, rtol=0.03)
    assert (mean_nll >= -likelihood.log()).all()


def test_bound_of_padded_items_is_that_of_the_items_alone():
    tables = torch.randn(1, N, K, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def denoiser(ids, hidden):
        return tables.expand(len(ids), -1, -1)

    ids = torch.tensor([[0, 1, 0]])
    real = torch.tensor([[True, True, False]])
    bound = negative_elbo(denoiser, ids, real, 400, torch.Generator().manual_seed(0))
    log_p = tables.log_softmax(dim=-1)
    assert torch.allclose(bound, -(log_p[0, 0, 0] + log_p[0, 1, 1])[None], rtol=0.1)


def test_neutral_guidance_is_the_conditional_model_and_calls_nothing_else(joint):
    conditional = exact_denoiser(joint)
    assert classifier_free(conditional, lambda *_: 1 / 0, 1.0) is conditional
    ids, hidden = torch.zeros(1, N, dtype=torch.int64), torch.ones(1, N, dtype=torch.bool)
    same = classifier_free(conditional, conditional, 3.0)(ids, hidden)
    assert torch.allclose(same.log_softmax(-1), conditional(ids, hidden).log_softmax(-1), atol=1e-5)


def test_draws_are_made_in_float64_and_follow_the_distribution():
    logits = torch.tensor([[0.0, 1.0, 2.0]]).expand(20000, 3)
    drawn, log_p = draw_categorical(logits, torch.Generator().manual_seed(0))
    assert log_p.dtype == torch.float64
    frequency = torch.bincount(drawn, minlength=3) / 20000
    assert torch.allclose(frequency, logits[0].softmax(0), atol=0.01)
    nucleus, _ = draw_categorical(logits, torch.Generator().manual_seed(0), top_p=0.6)
    assert set(nucleus.tolist()) == {2}


def test_weights_and_times():
    path, t = MaskedPath(), torch.tensor([1e-3, 0.5, 1.0])
    assert torch.allclose(path.elbo_weight(t), 1 / t)
    assert torch.allclose(path.training_weight(t), 1 / (t + (1 - t) / 5))
    assert float(path.training_weight(torch.tensor([1.0]))) == 1.0
    times = stratified_times(64, torch.Generator().manual_seed(0))
    places = (times.sort().values - 1e-3) / (1 - 1e-3) * 64
    assert torch.equal((places + 1e-4).long(), torch.arange(64))
    share = path.corrupt((100_000,), 0.3, torch.Generator().manual_seed(0)).float().mean()
    assert abs(float(share) - 0.3) < 0.01


def test_times_of_the_sampler_have_their_density():
    """Shares of the draws against the integral of the density, and a mean over uniform times by their weights."""
    times = sampler_times(20_000, torch.Generator().manual_seed(0)).double()
    for low, high in ((0.0, 0.3), (0.3, 0.8), (0.8, 0.99)):
        grid = torch.linspace(low, high, 10_001, dtype=torch.float64)
        expected = torch.trapezoid(sampler_density(grid), grid)
        assert ((times > low) & (times <= high)).double().mean() == pytest.approx(float(expected), abs=2e-3)
    weighted = (times.square() / sampler_density(times)).mean()
    assert float(weighted) == pytest.approx(1 / 3, abs=2e-3)
