"""Codebooks: k-means start, moving averages, gradients of the losses, dead codes, nearest codes, the factory."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

from vqfusion.config import VQVAEConfig
from vqfusion.tokenizers.nearest import nearest_code
from vqfusion.tokenizers.quantizers import (
    QUANTIZERS,
    CosineVectorQuantizer,
    FiniteScalarQuantizer,
    GradientVectorQuantizer,
    GumbelVectorQuantizer,
    MultiHead,
    Projected,
    ProjectedVectorQuantizer,
    Residual,
    SimVectorQuantizer,
    VectorQuantizer,
    make_quantizer,
)
from vqfusion.tokenizers.quantizers.codebook import CANDIDATES, MOST_BATCHES, thin
from vqfusion.tokenizers.vqvae import VQVAE


def vectors(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5


def test_update_is_the_ema_of_counts_and_sums():
    quantizer = VectorQuantizer(3, 12, kmeans_init=False)
    before_counts, before_sums = quantizer.ema_counts.clone(), quantizer.ema_sums.clone()
    x = vectors(2, 50, 3)
    indices = quantizer(x).indices.reshape(-1)
    quantizer.update()
    counts = torch.bincount(indices, minlength=12).float()
    sums = torch.zeros(12, 3).index_add_(0, indices, x.reshape(-1, 3))
    assert torch.allclose(quantizer.ema_counts, 0.99 * before_counts + 0.01 * counts)
    assert torch.allclose(quantizer.ema_sums, 0.99 * before_sums + 0.01 * sums, atol=1e-6)


def test_without_inertia_an_update_is_a_step_of_kmeans():
    quantizer = VectorQuantizer(2, 6, kmeans_init=False, decay=0.0, threshold_ema_dead_code=0.0)
    x = vectors(1, 400, 2)
    indices = quantizer(x).indices[0]
    quantizer.update()
    for k in indices.unique():
        assert torch.allclose(quantizer.codebook[k], x[0][indices == k].mean(dim=0), atol=1e-5)


def test_cosine_codes_follow_mean_directions():
    quantizer = CosineVectorQuantizer(3, 4, kmeans_init=False, decay=0.0, threshold_ema_dead_code=0.0)
    x = vectors(1, 200, 3)
    indices = quantizer(x).indices[0]
    quantizer.update()
    for k in indices.unique():
        direction = F.normalize(F.normalize(x[0][indices == k], dim=-1).mean(dim=0), dim=0)
        assert torch.allclose(quantizer.codes()[k], direction, atol=1e-5)


def test_attached_codebook_moves_after_each_optimizer_step():
    quantizer, weight = VectorQuantizer(3, 12, kmeans_init=False), torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    quantizer.attach(optimizer)
    quantizer(vectors(2, 9, 3) * weight).loss.backward()
    before = quantizer.codebook.clone()
    optimizer.step()
    assert int(quantizer.updates) == 1 and not torch.equal(before, quantizer.codebook)


@pytest.mark.parametrize("kind", [GradientVectorQuantizer, SimVectorQuantizer])
def test_each_loss_moves_its_own_side(kind):
    """The weight of the commitment belongs to the vectors, that of the codebook to the codes, not the other way."""
    quantizer = kind(3, 5, commitment_weight=0.2, codebook_weight=3.0).eval()
    x = vectors(1, 40, 3).requires_grad_()
    out = quantizer(x)
    out.loss.backward()
    code = quantizer.codes().detach()[out.indices[0]]
    assert torch.allclose(x.grad[0], 0.2 * 2 * (x[0] - code).detach() / x.numel(), atol=1e-7)
    to_codes = torch.zeros(5, 3).index_add_(0, out.indices[0], 3.0 * 2 * (code - x[0]).detach() / x.numel())
    if kind is SimVectorQuantizer:
        assert torch.allclose(quantizer.weight.grad, quantizer.frozen.t() @ to_codes, atol=1e-6)
    else:
        assert torch.allclose(quantizer.codebook.grad, to_codes, atol=1e-7)
    distance = (x[0] - code).square().mean()
    assert torch.allclose(out.losses["commitment"], distance) and torch.allclose(out.losses["codebook"], distance)
    assert torch.allclose(out.loss, 3.2 * distance)


def clusters(generator: torch.Generator) -> torch.Tensor:
    centers = torch.randn(200, 16, generator=torch.Generator().manual_seed(0)) * 3
    chosen = torch.randint(200, (1, 1024), generator=generator)
    return centers[chosen] + 0.1 * torch.randn(1, 1024, 16, generator=generator)


def learned(threshold: float, steps: int = 300):
    """What is left of the error on 200 clusters for 256 codes that start away from them."""
    generator = torch.Generator().manual_seed(1)
    quantizer = VectorQuantizer(16, 256, kmeans_init=False, decay=0.9, threshold_ema_dead_code=threshold)
    for _ in range(steps):
        quantizer(clusters(generator))
        quantizer.update()
    return quantizer.eval()(clusters(generator))


def test_dead_codes_come_back():
    """Every cluster is found, up to the noise within clusters; without revival some never are."""
    with_revival, without = learned(0.1), learned(0.0)
    assert float(with_revival.quantization_error) < 0.0105 < 0.1 < float(without.quantization_error)
    assert float(with_revival.usage) > 0.9 > float(without.usage)


def test_revived_codes_of_a_learned_codebook_stay_where_they_were_put():
    quantizer = GradientVectorQuantizer(2, 8, kmeans_init=False, decay=0.5, threshold_ema_dead_code=0.5)
    with torch.no_grad():
        quantizer.codebook[1:] = 100.0
    x = vectors(1, 300, 2)
    for _ in range(3):
        quantizer(x)
        quantizer.update()
    assert float(quantizer.codebook.detach().abs().max()) < 10
    assert isinstance(quantizer.codebook, torch.nn.Parameter) and float(quantizer.eval()(x).usage) == 1.0


def test_a_batch_of_fewer_vectors_than_dead_codes_revives_them_all():
    quantizer = VectorQuantizer(2, 64, kmeans_init=False, decay=0.0, threshold_ema_dead_code=0.1)
    quantizer(vectors(1, 5, 2))
    quantizer.update()
    assert quantizer.codebook.isfinite().all() and float(quantizer.ema_counts.min()) > 0


def test_kmeans_start_uses_every_code():
    assert float(VectorQuantizer(3, 16)(vectors(2, 400, 3)).usage) == 1.0


@pytest.mark.parametrize("chunk", [7, 1024])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_nearest_code_agrees_with_float64_also_on_offset_data(chunk, mean):
    generator = torch.Generator().manual_seed(0)
    x = mean + 0.3 * torch.randn(2000, 16, generator=generator)
    codes = mean + 0.3 * torch.randn(256, 16, generator=generator)
    exact = torch.cdist(x.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    assert torch.equal(nearest_code(x, codes, chunk), exact)


@pytest.mark.parametrize("kind", ["vq", "gradient_vq", "soft_vq", "gumbel_vq", "sq_vae", "ibq"])
def test_no_code_of_offset_data_is_wrong(kind):
    """Mean 100, deviation 0.3: float32 distances without centring miss a quarter of the codes."""
    x = 100 + 0.3 * torch.randn(1, 2000, 16, generator=torch.Generator().manual_seed(0))
    quantizer = QUANTIZERS[kind](16, 64)
    out = quantizer(x)
    quantizer.update()
    assert out.quantized.isfinite().all() and out.loss.isfinite()
    codes = quantizer.codes().detach()
    exact = torch.cdist(x.double(), codes.double()[None], compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=-1)
    assert torch.equal(quantizer.eval()(x).indices, exact)


def test_no_residual_code_of_offset_data_is_wrong():
    x = 100 + 0.3 * torch.randn(1, 2000, 8, generator=torch.Generator().manual_seed(0))
    quantizer = Residual([VectorQuantizer(8, 32) for _ in range(3)])
    quantizer(x)
    quantizer.update()
    indices, rest = quantizer.eval()(x).indices, x.double()
    for i, part in enumerate(quantizer.quantizers):
        codes = part.codebook.double()
        exact = torch.cdist(rest, codes[None], compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=-1)
        assert torch.equal(indices[..., i], exact)
        rest = rest - codes[exact]


def test_grid_of_finite_scalars():
    quantizer = FiniteScalarQuantizer((5, 4, 3)).eval()
    codes = quantizer.lookup(torch.arange(60))
    values = [torch.linspace(-1, 1, n) for n in (5, 4, 3)]
    assert torch.allclose(codes.unique(dim=0), torch.cartesian_prod(*values))
    out = quantizer(torch.tensor([[[3.0, 0.0, -0.4]]]).requires_grad_())
    assert torch.allclose(out.losses["commitment"], torch.tensor(4 / 3))
    with pytest.raises(ValueError, match="at least 2"):
        FiniteScalarQuantizer((8, 1))


def test_the_factory_puts_together_what_is_asked_for():
    quantizer = make_quantizer(
        12, 16, use_cosine_sim=True, codebook_dim=8, heads=2, num_quantizers=3, channel_first=True
    )
    assert isinstance(quantizer, Projected) and isinstance(quantizer.quantizer, MultiHead)
    assert isinstance(quantizer.quantizer.heads[0], Residual) and quantizer.index_axes == (6,)
    x = vectors(2, 12, 4, 5)
    quantized, indices, loss = quantizer(x)
    assert quantized.shape == x.shape and indices.shape == (2, 4, 5, 6) and loss.ndim == 0
    assert type(make_quantizer(12, 16)) is VectorQuantizer
    assert type(make_quantizer(12, 16, learnable_codebook=True, channel_first=True)) is GradientVectorQuantizer
    with pytest.raises(ValueError, match="split into 5 heads"):
        make_quantizer(12, 16, heads=5)


def test_mistakes_are_named_with_their_mend():
    with pytest.raises(ValueError, match=r"vectors of 3, the input has 4 \(vectors last\)"):
        VectorQuantizer(3, 8)(vectors(2, 5, 4))
    with pytest.raises(ValueError, match="one boolean for each vector"):
        VectorQuantizer(3, 8)(vectors(2, 5, 3), torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="unknown estimator 'st'; known: ste, rotation, diveq"):
        VectorQuantizer(3, 8, estimator="st")
    with pytest.raises(ValueError, match="give codebook_size"):
        VectorQuantizer(dim=3)
    assert VectorQuantizer(num_embeddings=8, embedding_dim=3).codebook.shape == (8, 3)
    with pytest.raises(ValueError, match="dim comes first: VectorQuantizer\\(dim=3, codebook_size=8\\)"):
        VectorQuantizer(8, 3)(vectors(2, 5, 3))


@pytest.mark.parametrize("kind", [k for k in QUANTIZERS.values() if k.config_keys[:2] == ("dim", "codebook_size")])
def test_every_quantizer_takes_dim_and_codebook_size_in_this_order(kind):
    made = kind(8, 16)
    assert (made.dim, made.codebook_size) == (8, 16)


def test_a_mask_of_whole_numbers_is_refused():
    """They would be taken for indices; without the type checks of the tests, in a process of its own."""
    program = (
        "import torch; from vqfusion import VectorQuantizer; "
        "VectorQuantizer(4, 16)(torch.randn(3, 10, 4), torch.ones(3, 10, dtype=torch.long))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "give mask.bool()" in done.stderr


def test_a_codebook_that_is_never_moved_says_so_and_keeps_no_more_than_it_needs():
    quantizer = VectorQuantizer(4, 16, kmeans_init=False)
    with pytest.warns(UserWarning, match="attach"):
        for _ in range(MOST_BATCHES + 1):
            quantizer(torch.randn(2, 100, 4))
    assert sum(map(len, quantizer._candidates)) == CANDIDATES


def test_thinning_meets_every_column_of_a_grid():
    columns = torch.arange(16).expand(256, 16, 16).reshape(-1)
    few = thin(columns, 4096)
    assert len(few) == 4096 and len(few.unique()) == 16
    assert torch.equal(thin(torch.arange(10), 10), torch.arange(10))
    places = thin(torch.arange(1000), 300)
    assert bool((places.diff() > 0).all()) and int(places[-1]) < 1000


def test_encoding_in_training_learns_nothing_and_drops_no_code():
    options = {"num_quantizers": 3, "quantizer_dropout": 0.9}
    vqvae = VQVAE(
        VQVAEConfig(widths=(8, 8), depths=(0, 0), codebook_size=16, dim=4, quantizer="residual_vq", options=options)
    )
    before = {name: value.clone() for name, value in vqvae.state_dict().items()}
    assert int(vqvae.train().encode(torch.randn(4, 3, 16, 16)).min()) >= 0 and vqvae.quantizer.training
    assert all(torch.equal(value, before[name]) for name, value in vqvae.state_dict().items())
    assert not any(part._candidates for part in vqvae.quantizer.quantizers)


def test_the_error_is_the_distance_to_the_vectors_that_came_in():
    x = torch.randn(2, 50, 8)
    for quantizer in (
        ProjectedVectorQuantizer(8, 16, codebook_dim=3),
        MultiHead([VectorQuantizer(1, 4), VectorQuantizer(7, 4)]),
    ):
        quantizer(x), quantizer.eval()
        out = quantizer(x)
        torch.testing.assert_close(out.quantization_error, (x - out.quantized).square().mean())


def test_a_residual_of_codes_that_learn_by_an_estimate_of_their_own_is_refused():
    with pytest.raises(ValueError, match="GumbelVectorQuantizer"):
        Residual([GumbelVectorQuantizer(4, 8) for _ in range(2)])
