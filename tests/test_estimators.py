"""Gradient estimators against explicit constructions of their formulas."""

import pytest
import torch

from vqfusion.tokenizers.quantizers import GradientVectorQuantizer, VectorQuantizer
from vqfusion.tokenizers.quantizers.estimators import DIVEQ_VARIANCE, directional, rotation_trick, straight_through


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    x, codes, weight = torch.randn(3, 40, 5, generator=generator)
    return x.requires_grad_(), codes.requires_grad_(), weight


@pytest.mark.parametrize("estimator", [straight_through, rotation_trick, directional])
def test_the_value_is_the_code(estimator, pair):
    x, codes, _ = pair
    assert torch.allclose(estimator(x, codes), codes, atol=1e-5)


def test_straight_through_has_gradient_one(pair):
    x, codes, weight = pair
    (straight_through(x, codes) * weight).sum().backward()
    assert torch.equal(x.grad, weight) and codes.grad is None


def test_rotation_trick_is_a_rotation_and_a_scaling(pair):
    """The matrix R of each pair by matrix exponential of the turn in its plane; the gradient is |q|/|x| R^T w."""
    x, codes, weight = pair
    (rotation_trick(x, codes) * weight).sum().backward()
    for i in range(len(x)):
        e, q = (v[i].detach().double() / v[i].detach().double().norm() for v in (x, codes))
        cosine = torch.dot(e, q)
        side = (q - cosine * e) / (q - cosine * e).norm()
        turn = torch.arccos(cosine) * (torch.outer(side, e) - torch.outer(e, side))
        rotation = torch.linalg.matrix_exp(turn)
        assert torch.allclose(rotation @ e, q) and torch.allclose(torch.linalg.det(rotation), torch.ones(()).double())
        scale = codes[i].detach().double().norm() / x[i].detach().double().norm()
        expected = scale * rotation.t() @ weight[i].double()
        assert torch.allclose(x.grad[i].double(), expected, atol=1e-4)
    assert codes.grad is None


def test_rotation_keeps_the_angle_between_gradient_and_code(pair):
    """Fifty et al. (2024), section 4.1: the angle of w to q is that of the gradient to x."""
    x, codes, weight = pair
    (rotation_trick(x, codes) * weight).sum().backward()
    to_code = torch.cosine_similarity(weight, codes.detach())
    assert torch.allclose(torch.cosine_similarity(x.grad, x.detach()), to_code, atol=1e-5)


def test_rotation_without_an_angle_passes_straight_through():
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    codes = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-2.0, -4.0]])
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    out = rotation_trick(x, codes)
    (out * weight).sum().backward()
    assert torch.equal(out, codes) and torch.equal(x.grad, weight)


def test_directional_has_the_gradient_of_distance_times_direction(pair):
    """Of x + |c - x| u with u held: w - (w.u) d to the vector, (w.u) d to the code, d along c - x."""
    x, codes, weight = pair
    out = directional(x, codes, torch.Generator().manual_seed(3))
    (out * weight).sum().backward()
    error = (codes - x).detach()
    noise = torch.empty_like(error).normal_(0.0, DIVEQ_VARIANCE**0.5, generator=torch.Generator().manual_seed(3))
    u = torch.nn.functional.normalize(error + noise, dim=1)
    d = torch.nn.functional.normalize(error, dim=1)
    along = (weight * u).sum(dim=1, keepdim=True)
    assert torch.allclose(x.grad, weight - along * d, atol=1e-5)
    assert torch.allclose(codes.grad, along * d, atol=1e-5)
    assert torch.allclose((out - x).norm(dim=1), error.norm(dim=1), rtol=1e-4), "the error keeps its length"
    assert not torch.allclose(out, codes, atol=1e-4)


@pytest.mark.parametrize("estimator", [rotation_trick, directional])
def test_a_vector_on_its_code_has_a_finite_gradient(estimator):
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    estimator(x, x.detach().clone()).sum().backward()
    assert x.grad.isfinite().all()


def test_diveq_teaches_the_codebook_without_further_losses():
    generator = torch.Generator().manual_seed(0)
    options = dict(kmeans_init=False, commitment_weight=0.0, codebook_weight=0.0, threshold_ema_dead_code=0.0)
    quantizer = GradientVectorQuantizer(2, 4, estimator="diveq", **options)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.03)
    target = torch.tensor([[2.0, 0.0], [0.0, 2.0], [-2.0, 0.0], [0.0, -2.0]])
    with torch.no_grad():
        quantizer.codebook.copy_(0.3 * target)
    for _ in range(150):
        x = target[torch.randint(4, (1, 64), generator=generator)]
        out = quantizer(x)
        optimizer.zero_grad()
        ((out.quantized - x).square().mean() + out.loss).backward()
        optimizer.step()
        quantizer.update()
    assert torch.allclose(quantizer.codebook.detach(), target, atol=0.15)


@pytest.mark.parametrize(("estimator", "function"), [("rotation", rotation_trick), ("diveq", directional)])
def test_a_quantizer_uses_the_estimator_it_is_given(estimator, function, pair):
    x, _, weight = pair
    quantizer = VectorQuantizer(5, 8, estimator=estimator).eval()
    (quantizer(x).quantized * weight).sum().backward()
    again = x.detach().requires_grad_()
    (function(again, quantizer.codebook[quantizer.nearest(again)]) * weight).sum().backward()
    assert torch.allclose(x.grad, again.grad, atol=1e-6)


def test_noise_follows_the_generator_and_the_data(pair):
    x = pair[0].detach()[None]
    quantizer = VectorQuantizer(5, 8, estimator="diveq", kmeans_init=False)
    a, b = (quantizer(x, None, torch.Generator().manual_seed(5)).quantized for _ in range(2))
    assert torch.equal(a, b) and torch.equal(quantizer(x).quantized, quantizer(x).quantized)
    assert not torch.equal(a, quantizer(x).quantized) and not torch.equal(
        quantizer(-x).quantized, -quantizer(x).quantized
    )
