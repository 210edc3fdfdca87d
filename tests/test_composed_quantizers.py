"""Quantizers made of quantizers: residual, grouped, heads, projection, hierarchy, residual finite scalars."""

import pytest
import torch
from torch.nn import functional as F

from vqfusion.tokenizers.quantizers import (
    CosineVectorQuantizer,
    FiniteScalarQuantizer,
    GroupedResidualVectorQuantizer,
    HierarchicalVectorQuantizer,
    LookupFreeQuantizer,
    MultiHead,
    MultiHeadVectorQuantizer,
    Projected,
    ProjectedVectorQuantizer,
    Residual,
    ResidualFiniteScalarQuantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from vqfusion.tokenizers.quantizers.projected import orthonormal_rows


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trained(quantizer, *shape: int):
    for step in range(3):
        quantizer(vectors(*shape, seed=10 + step))
        quantizer.update()
    return quantizer


def test_residual_codes_add_up_and_each_improves():
    quantizer = trained(ResidualVectorQuantizer(4, 16, num_quantizers=3), 2, 200, 4).eval()
    x = vectors(2, 200, 4)
    out = quantizer(x)
    total, errors = torch.zeros_like(x), []
    for i, part in enumerate(quantizer.quantizers):
        total = total + part.codebook[out.indices[..., i]]
        errors.append((x - total).square().mean())
        assert torch.allclose(quantizer.indices_to_codes(out.indices[..., : i + 1]), total, atol=1e-6)
    assert torch.allclose(out.quantized, total, atol=1e-6)
    assert torch.allclose(out.per_depth["quantization_error"], torch.stack(errors), atol=1e-6)
    assert errors == sorted(errors, reverse=True) and torch.allclose(out.quantization_error, errors[-1])
    assert torch.allclose(out.losses["commitment"], sum(errors), rtol=1e-5)
    assert out.per_depth["perplexity"].shape == (3,)


def test_residual_estimator_is_taken_once():
    """A straight-through estimator at each depth would multiply the gradient by the depth."""
    quantizer, x, weight = ResidualVectorQuantizer(4, 8).eval(), vectors(1, 9, 4).requires_grad_(), vectors(1, 9, 4)
    (quantizer(x).quantized * weight).sum().backward()
    assert torch.equal(x.grad, weight)


def test_greedy_search_is_not_idempotent():
    """0.45 is 0 + 0.6; but 0.6 is nearer to 1, and 1 + 0 is what it becomes: why no contract promises otherwise."""
    parts = [VectorQuantizer(1, 2, kmeans_init=False) for _ in range(2)]
    parts[0].codebook.copy_(torch.tensor([[0.0], [1.0]]))
    parts[1].codebook.copy_(torch.tensor([[0.0], [0.6]]))
    quantizer = Residual(parts).eval()
    once = quantizer(torch.tensor([[[0.45]]])).quantized
    assert float(once) == pytest.approx(0.6) and float(quantizer(once).quantized) == 1.0
    assert not quantizer.idempotent


@pytest.mark.parametrize("channel_first", [False, True])
def test_dropout_is_for_each_item_and_dropped_codes_are_nothing(channel_first):
    options = dict(num_quantizers=4, quantizer_dropout=0.5, channel_first=channel_first)
    quantizer = trained(ResidualVectorQuantizer(4, 8, **options), 400, *((4, 3) if channel_first else (3, 4)))
    x = vectors(400, 3, 4)
    out = quantizer(x.movedim(-1, 1) if channel_first else x, None, torch.Generator().manual_seed(0))
    kept = (out.indices >= 0).sum(dim=-1)
    assert (kept == kept[:, :1]).all(), "all vectors of an item keep the same depth"
    assert ((out.indices >= 0).int().diff(dim=-1) <= 0).all(), "what is kept comes first"
    shares = torch.bincount(kept[:, 0], minlength=5) / 400
    assert torch.allclose(shares, torch.tensor([0.0, 0.125, 0.125, 0.125, 0.625]), atol=0.08)
    assert torch.allclose(quantizer.indices_to_codes(out.indices), out.quantized, atol=1e-5)
    again = quantizer(x.movedim(-1, 1) if channel_first else x, None, torch.Generator().manual_seed(0))
    assert torch.equal(again.indices, out.indices)
    assert (quantizer.eval()(x.movedim(-1, 1) if channel_first else x).indices >= 0).all()


def test_dropped_rows_do_not_train_deeper_codes():
    quantizer = ResidualVectorQuantizer(2, 4, num_quantizers=3, quantizer_dropout=1.0)
    x = vectors(50, 6, 2)
    indices = quantizer(x).indices
    for depth, part in enumerate(quantizer.quantizers):
        assert int(part._counts.sum()) == int((indices[..., depth] >= 0).sum())


def test_groups_share_their_depth():
    quantizer = GroupedResidualVectorQuantizer(6, 8, groups=3, num_quantizers=4, quantizer_dropout=1.0)
    indices = trained(quantizer, 60, 5, 6)(vectors(60, 5, 6)).indices
    kept = (indices.unflatten(-1, (3, 4)) >= 0).sum(dim=-1)
    assert (kept == kept[:, :1, :1]).all() and len(kept.unique()) == 4


def test_groups_are_residual_quantizers_of_parts():
    quantizer = trained(GroupedResidualVectorQuantizer(6, 8, groups=2, num_quantizers=3), 4, 50, 6).eval()
    x = vectors(4, 50, 6)
    out = quantizer(x)
    for i, (part, head) in enumerate(zip(x.split(3, dim=-1), quantizer.heads, strict=True)):
        alone = head(part)
        assert torch.equal(out.indices[..., 3 * i : 3 * i + 3], alone.indices)
        assert torch.equal(out.quantized[..., 3 * i : 3 * i + 3], alone.quantized)


def test_heads_have_codebooks_of_their_own():
    quantizer = trained(MultiHeadVectorQuantizer(6, 8, heads=3), 4, 50, 6).eval()
    x = vectors(4, 50, 6)
    out = quantizer(x)
    for i, (part, head) in enumerate(zip(x.split(2, dim=-1), quantizer.heads, strict=True)):
        assert torch.equal(out.indices[..., i], head(part).indices)
    assert torch.allclose(out.quantization_error, (x - out.quantized).square().mean())
    with pytest.raises(ValueError, match="split into 4 heads"):
        MultiHeadVectorQuantizer(6, 8, heads=4)
    with pytest.raises(ValueError, match="codebooks of one size"):
        MultiHead([VectorQuantizer(2, 8), VectorQuantizer(2, 4)])


@pytest.mark.parametrize("rounding", [torch.float32, torch.float16])
def test_projections_have_orthonormal_rows_whatever_training_makes_of_them(rounding):
    weight = vectors(5, 12) @ torch.diag(torch.logspace(-1, 1, 12))
    rows = orthonormal_rows(weight.to(rounding).float())
    assert torch.allclose(rows @ rows.t(), torch.eye(5), atol=1e-5)
    u, _, v = torch.linalg.svd(weight.to(rounding).double(), full_matrices=False)
    assert torch.allclose(rows.double(), u @ v, atol=1e-4), "the nearest such matrix"


def test_projected_codes_lie_in_a_learned_subspace():
    quantizer = trained(ProjectedVectorQuantizer(8, 16, codebook_dim=3), 2, 100, 8)
    x = vectors(2, 100, 8).requires_grad_()
    out = quantizer(x)
    assert torch.linalg.matrix_rank(out.quantized.detach().reshape(-1, 8), atol=1e-4) == 3
    (out.quantized.square().sum() + out.loss).backward()
    assert quantizer.weight.grad.abs().max() > 0
    inside = x.detach() @ orthonormal_rows(quantizer.weight.detach()).t()
    assert torch.equal(quantizer.eval()(x).indices, quantizer.quantizer(inside).indices)
    with pytest.raises(ValueError, match="make dim larger"):
        Projected(VectorQuantizer(9, 8), 8)


def test_projections_and_heads_nest():
    """Masks, cosine codes, projections and heads at once: what crashed or gave a wrong loss elsewhere."""
    parts = [CosineVectorQuantizer(2, 8) for _ in range(2)]
    quantizer = trained(Projected(MultiHead(parts), 6), 2, 40, 6)
    x, mask = vectors(2, 3, 4, 5, 6), torch.ones(2, 3, 4, 5, dtype=torch.bool)
    with_mask, without = quantizer(x, mask), quantizer(x)
    assert torch.allclose(with_mask.loss, without.loss) and torch.equal(with_mask.indices, without.indices)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_hierarchy_codes_blocks_and_cells(rank):
    quantizer = trained(HierarchicalVectorQuantizer(6, 16), 8, *[4] * rank, 6).eval()
    with torch.no_grad():
        quantizer.prediction.copy_(vectors(3, 3))
    x = vectors(2, *[4] * rank, 6)
    out = quantizer(x)
    assert out.indices.shape == (2, *[2] * rank, 1 + 2**rank)
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
    coarse = pool(x[..., :3].movedim(-1, 1), 2).movedim(1, -1)
    top = quantizer.top(coarse)
    assert torch.equal(out.indices[..., 0], top.indices)
    wide = top.quantized
    for axis in range(1, rank + 1):
        wide = wide.repeat_interleave(2, dim=axis)
    bottom = quantizer.bottom(x[..., 3:] - wide @ quantizer.prediction)
    assert torch.allclose(
        out.quantized, torch.cat([wide, bottom.quantized + wide @ quantizer.prediction], -1), atol=1e-5
    )
    first = (0, *[slice(2)] * rank)
    assert torch.equal(out.indices[(0, *[0] * rank)][1:], bottom.indices[first].reshape(-1))
    assert out.per_depth["perplexity"].shape == (2,)


def test_hierarchy_learns_to_predict_details_from_the_top():
    quantizer = HierarchicalVectorQuantizer(4, 8)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.02)
    mix = torch.tensor([[1.0, -0.5], [0.3, 0.8]])
    for step in range(100):
        coarse = vectors(16, 4, 1, 2, seed=step).expand(16, 4, 2, 2).reshape(16, 8, 2)
        out = quantizer(torch.cat([coarse, coarse @ mix + 0.05 * vectors(16, 8, 2, seed=step)], dim=-1))
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        quantizer.update()
    assert torch.allclose(quantizer.prediction.detach(), mix, atol=0.4)


def test_hierarchy_asks_for_whole_blocks():
    with pytest.raises(ValueError, match="pad its axes to multiples of 2 and mask the rest"):
        HierarchicalVectorQuantizer(4, 8)(vectors(1, 5, 4))


def test_a_block_is_the_mean_of_its_real_cells():
    quantizer = trained(HierarchicalVectorQuantizer(4, 8), 8, 6, 4).eval()
    x, mask = vectors(1, 2, 4), torch.tensor([[True, False]])
    alone = quantizer.top(x[:, :1, :2])
    assert torch.equal(quantizer(x, mask).indices[0, 0, 0], alone.indices[0, 0])


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_residual_finite_scalars_are_the_digits_of_one_fine_grid(depth):
    fine, quantizer = FiniteScalarQuantizer((5**depth, 4**depth)), ResidualFiniteScalarQuantizer((5, 4), depth)
    x = vectors(1, 500, 2) * 0.7
    out = quantizer.eval()(x)
    assert torch.allclose(out.quantized, fine.eval()(x).quantized, atol=1e-5)
    every = torch.cartesian_prod(*[torch.arange(20)] * depth).reshape(1, -1, depth)
    codes = quantizer.indices_to_codes(every)
    assert torch.equal(quantizer.codes_to_indices(codes), every), "no two rows of indices are the same vector"


def test_residual_finite_scalars_are_greedy_residuals_of_scaled_grids():
    quantizer = ResidualFiniteScalarQuantizer((5, 3), num_quantizers=3).eval()
    x = vectors(1, 300, 2) * 0.6
    indices, rest = quantizer(x).indices, x.clamp(-1, 1)
    for q in range(3):
        scale = torch.tensor([5.0 ** (2 - q) * 4 / (5**3 - 1), 3.0 ** (2 - q) * 2 / (3**3 - 1)])
        stage = FiniteScalarQuantizer((5, 3)).eval()
        assert torch.equal(indices[..., q], stage(rest / scale).indices)
        rest = rest - stage(rest / scale).quantized * scale
        assert torch.allclose(x.clamp(-1, 1) - rest, quantizer.indices_to_codes(indices[..., : q + 1]), atol=1e-5)
    with pytest.raises(ValueError, match="finer than float32"):
        ResidualFiniteScalarQuantizer((8, 8), num_quantizers=8)


def test_any_quantizer_of_one_index_may_be_residual():
    quantizer = Residual([LookupFreeQuantizer(4), LookupFreeQuantizer(4)]).eval()
    x = vectors(1, 20, 4)
    assert torch.allclose(quantizer(x).quantized, x.sign() + (x - x.sign()).sign())
    with pytest.raises(ValueError, match="one index each"):
        Residual([MultiHeadVectorQuantizer(4, 8), MultiHeadVectorQuantizer(4, 8)])
