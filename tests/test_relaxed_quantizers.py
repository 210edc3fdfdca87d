"""Quantizers that need all scores: soft, Gumbel, SQ-VAE, IBQ, against closed forms in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from vqfusion.tokenizers.quantizers import (
    GumbelVectorQuantizer,
    IndexBackpropagationQuantizer,
    SoftVectorQuantizer,
    StochasticSphericalQuantizer,
    StochasticVectorQuantizer,
    relaxation,
)
from vqfusion.tokenizers.quantizers.relaxation import centered_scores, gumbel_noise, mixture_of_codes

ONE = torch.ones(())


def vectors(n: int = 50, dim: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, n, dim, generator=torch.Generator().manual_seed(seed))


def started(kind, size: int = 12, **options):
    """A quantizer that has seen its first batch."""
    quantizer = kind(4, size, **options)
    quantizer(vectors(400, seed=7))
    return quantizer


def squared_distances(x: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    return (x[:, None].double() - codes[None].double()).square().sum(dim=2)


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_scores_are_half_squared_distances(offset):
    x, codes = vectors()[0] * 0.3 + offset, vectors(9, seed=1)[0] * 0.3 + offset
    assert torch.allclose(centered_scores(x, codes).double(), -squared_distances(x, codes) / 2, atol=1e-4)


def test_soft_codes_are_kernel_regression():
    """q(x) = sum_k c_k phi(x - c_k) / sum_k phi(x - c_k) with a bandwidth that shrinks linearly to nothing."""
    quantizer = started(SoftVectorQuantizer, anneal_steps=10)
    x = vectors()
    for t in range(10):
        quantizer.updates.fill_(t)
        h = torch.exp(quantizer.log_variance.detach().double() / 2) * (1 - t / 10)
        phi = torch.exp(-squared_distances(x[0], quantizer.codes().detach()) / (2 * h**2))
        expected = phi @ quantizer.codes().detach().double() / phi.sum(dim=1, keepdim=True)
        assert torch.allclose(quantizer(x).quantized[0].double(), expected, atol=1e-4)


def test_soft_gradients_are_those_of_the_formula():
    quantizer = started(SoftVectorQuantizer, commitment_weight=0.0, codebook_weight=0.0)
    x, weight = vectors().requires_grad_(), vectors(seed=3)
    (quantizer(x).quantized * weight).sum().backward()
    z, codes = x.detach()[0].double().requires_grad_(), quantizer.codebook.detach().double().requires_grad_()
    log_variance = quantizer.log_variance.detach().double().requires_grad_()
    p = torch.softmax(-(z[:, None] - codes).square().sum(dim=2) / (2 * log_variance.exp()), dim=1)
    (p @ codes * weight[0]).sum().backward()
    assert torch.allclose(x.grad[0].double(), z.grad, atol=1e-4)
    assert torch.allclose(quantizer.codebook.grad.double(), codes.grad, atol=1e-4)
    assert torch.allclose(quantizer.log_variance.grad.double(), log_variance.grad, rtol=1e-3)
    assert log_variance.grad != 0, "the bandwidth is learned"


def test_soft_becomes_hard_by_updates_and_is_hard_in_evaluation():
    quantizer = started(SoftVectorQuantizer, anneal_steps=4)
    x = vectors()
    hard = quantizer.eval()(x).quantized
    assert torch.allclose(hard[0], quantizer.codes()[quantizer(x).indices[0]])
    quantizer.train()
    errors = []
    for t in range(5):
        quantizer.updates.fill_(t)
        errors.append(float((quantizer(x).quantized - hard).detach().square().mean()))
    assert errors == sorted(errors, reverse=True) and errors[0] > 0.01 and errors[-1] == 0.0
    quantizer.updates.fill_(0)
    for t in range(3):
        assert int(quantizer.updates) == t
        quantizer(x)
        quantizer.update()


def test_gumbel_draws_have_the_probabilities_of_p():
    x, codes = vectors(1).expand(1, 20000, 4)[0], vectors(5, seed=1)[0]
    p = torch.softmax(-squared_distances(x[:1], codes) / 2, dim=1)[0]
    _, drawn, entropy, energy = mixture_of_codes(x, codes, ONE, 0.1 * ONE, seed=0)
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    assert torch.allclose(shares.double(), p, atol=4 * math.sqrt(0.25 / len(drawn)))
    assert torch.allclose(entropy.double(), torch.special.entr(p).sum(), atol=1e-4)
    assert torch.allclose(energy.double(), (p * squared_distances(x[:1], codes)[0] / 2).sum(), atol=1e-4)


def test_gumbel_noise_has_its_mean_and_variance():
    noise = gumbel_noise((200000,), torch.Generator().manual_seed(0))
    assert abs(float(noise.mean()) - 0.5772) < 0.02 and abs(float(noise.var()) - math.pi**2 / 6) < 0.04


def test_gumbel_softmax_is_the_mixture_of_its_draw():
    x, codes = vectors()[0], vectors(5, seed=1)[0]
    mixture = mixture_of_codes(x, codes, 2 * ONE, 0.7 * ONE, seed=4)[0]
    noise = gumbel_noise((50, 5), torch.Generator().manual_seed(4))
    logits = torch.log_softmax(-squared_distances(x, codes), dim=1)
    expected = torch.softmax((logits + noise) / 0.7, dim=1) @ codes.double()
    assert torch.allclose(mixture.double(), expected, atol=1e-4)


def test_gumbel_temperature_falls_geometrically():
    quantizer = GumbelVectorQuantizer(4, 8, temperature=2.0, min_temperature=0.5, anneal_steps=10)
    seen = []
    for t in (0, 5, 10, 20):
        quantizer.updates.fill_(t)
        seen.append(float(quantizer.temperature()))
    assert seen == pytest.approx([2.0, 1.0, 0.5, 0.5])


def test_gumbel_loss_is_the_divergence_from_uniform():
    quantizer = started(GumbelVectorQuantizer, kl_weight=0.5)
    x = vectors()
    out = quantizer(x)
    p = torch.softmax(-squared_distances(x[0], quantizer.codes().detach()) / (2 * quantizer.log_variance.exp()), dim=1)
    divergence = (p * (p * 12).log()).sum(dim=1).mean()
    assert torch.allclose(out.losses["kl"].double(), divergence, atol=1e-4)
    assert torch.allclose(out.loss.double(), 0.5 * divergence, atol=1e-4)


def test_a_hard_draw_is_a_code_with_the_gradient_of_the_mixture():
    soft, hard = started(GumbelVectorQuantizer), started(GumbelVectorQuantizer, hard=True)
    x, weight = vectors(), vectors(seed=3)
    gradients = []
    for quantizer in (soft, hard):
        z = x.clone().requires_grad_()
        out = quantizer(z, None, torch.Generator().manual_seed(0))
        (out.quantized * weight).sum().backward()
        gradients.append(z.grad)
    assert torch.allclose(*gradients, atol=1e-6)
    assert (out.quantized[0, :, None] == hard.codes()).all(dim=2).any(dim=1).all()


def test_sq_vae_has_the_two_divergences_of_its_bound():
    """Their sum is -log sum_k exp(-|x - c_k|^2 / (2 s^2)): Takida et al. (2022), eq. 10, in expectation."""
    quantizer = started(StochasticVectorQuantizer, kl_weight=0.3)
    x = vectors()
    out = quantizer(x)
    logits = -squared_distances(x[0], quantizer.codes().detach()) / (2 * quantizer.log_variance.detach().double().exp())
    p = logits.softmax(dim=1)
    assert torch.allclose(out.losses["kl_discrete"].double(), -torch.special.entr(p).sum(dim=1).mean(), atol=1e-4)
    assert torch.allclose(out.losses["kl_continuous"].double(), -(p * logits).sum(dim=1).mean(), atol=1e-4)
    assert torch.allclose(out.loss.double(), -0.3 * logits.logsumexp(dim=1).mean(), atol=1e-4)


def test_sq_vae_learns_its_variance_from_the_decoder():
    """Where a wide mixture costs reconstruction the variance falls: the quantizer anneals itself."""
    quantizer = started(StochasticVectorQuantizer, size=8, threshold_ema_dead_code=0.0)
    with torch.no_grad():
        quantizer.log_variance.fill_(2.0)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.05)
    points = vectors(8, seed=5)
    for step in range(100):
        x = points[:, torch.randint(8, (64,), generator=torch.Generator().manual_seed(step))]
        x = x + 0.1 * vectors(64, seed=step)
        out = quantizer(x)
        optimizer.zero_grad()
        ((out.quantized - x).square().mean() + out.loss).backward()
        optimizer.step()
        quantizer.update()
    assert quantizer.log_variance.item() < 0.0


def test_von_mises_fisher_is_a_softmax_of_cosines():
    quantizer = started(StochasticSphericalQuantizer, kl_weight=0.3)
    x = vectors()
    out = quantizer(x)
    kappa = 1 + torch.exp(-quantizer.log_variance.detach().double())
    cosines = F.normalize(x[0].double(), dim=1) @ F.normalize(quantizer.codebook.detach().double(), dim=1).t()
    p = torch.softmax(kappa * cosines, dim=1)
    assert torch.allclose(out.losses["kl_discrete"].double(), -torch.special.entr(p).sum(dim=1).mean(), atol=1e-4)
    distance = kappa * (1 - (p * cosines).sum(dim=1))
    assert torch.allclose(out.losses["kl_continuous"].double(), distance.mean(), rtol=1e-3)
    assert torch.allclose(quantizer.eval()(x).quantized.norm(dim=-1), torch.ones(1, 50), atol=1e-5)


def test_index_backpropagation_reaches_every_code():
    """The value is the nearest code; the gradient that of (onehot + p - sg[p]) C, built as it is written."""
    quantizer = started(IndexBackpropagationQuantizer, temperature=0.7)
    x, weight = vectors().requires_grad_(), vectors(seed=3)
    out = quantizer(x)
    (out.quantized * weight).sum().backward()
    z, codes = x.detach()[0].requires_grad_(), quantizer.codebook.detach().clone().requires_grad_()
    p = torch.softmax(-(z[:, None] - codes).square().sum(dim=2) / (2 * 0.7), dim=1)
    onehot = F.one_hot(p.argmax(dim=1), 12).float()
    quantized = (onehot + p - p.detach()) @ codes
    (quantized * weight[0]).sum().backward()
    assert torch.allclose(out.quantized[0], codes[out.indices[0]], atol=1e-6)
    assert torch.allclose(x.grad[0], z.grad, atol=1e-4) and torch.allclose(
        quantizer.codebook.grad, codes.grad, atol=1e-4
    )
    assert (quantizer.codebook.grad.abs().sum(dim=1) > 0).all()


def test_index_backpropagation_losses():
    quantizer = started(IndexBackpropagationQuantizer, entropy_weight=0.2, entropy_temperature=0.5)
    x = vectors()
    out = quantizer(x)
    p = torch.softmax(-squared_distances(x[0], quantizer.codes().detach()) / (2 * 0.5), dim=1)
    sample, batch = torch.special.entr(p).sum(dim=1).mean(), torch.special.entr(p.mean(dim=0)).sum()
    distance = squared_distances(x[0], quantizer.codes().detach()).amin(dim=1).mean() / 4
    assert torch.allclose(out.losses["sample_entropy"].double(), sample, atol=1e-4)
    assert torch.allclose(out.losses["batch_entropy"].double(), batch, atol=1e-4)
    assert torch.allclose(out.loss.double(), (1 + 1.0 + 0.25) * distance + 0.2 * (sample - batch), atol=1e-4)


@pytest.mark.parametrize("kind", [SoftVectorQuantizer, StochasticVectorQuantizer, IndexBackpropagationQuantizer])
def test_chunks_of_rows_change_nothing(kind, monkeypatch):
    quantizer = started(kind)
    x, results = vectors(), []
    for rows, scores in ((1000, 2**20), (7, 7 * 12)):
        monkeypatch.setattr(relaxation, "ROWS_PER_CHUNK", rows)
        monkeypatch.setattr("vqfusion.tokenizers.streaming.CHUNK_SCORES", scores)
        quantizer.zero_grad()
        z = x.clone().requires_grad_()
        out = quantizer(z)
        (out.loss + (0 if quantizer.draws else out.quantized.square().sum())).backward()
        results.append([out.loss.detach(), z.grad, *(p.grad for p in quantizer.parameters() if p.grad is not None)])
    for a, b in zip(*results, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def test_memory_of_scores_is_that_of_a_chunk():
    """4,096 vectors of 1,024 codes have 16 MiB of scores; autograd keeps none of them."""
    x = torch.randn(4096, 4, requires_grad=True)
    codes = torch.randn(1024, 4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        mixture, _, entropy, _ = mixture_of_codes(x, codes, ONE, ONE, seed=1)
    assert max(kept) <= relaxation.ROWS_PER_CHUNK * 1024 // 8
    (mixture.sum() + entropy.sum()).backward()
    assert x.grad.isfinite().all() and codes.grad.isfinite().all()
