"""Contracts of the quantizers: idempotence, gradients, masks, EMA, nearest code, export."""

import pytest
import torch

from vqfusion.tokenizers.nearest import nearest_code
from vqfusion.tokenizers.quantizers import FiniteScalarQuantizer, VectorQuantizer

GRIDS = [(7,), (4, 5), (2, 3, 4)]


def make(kind: str, channel_first: bool = False):
    if kind == "fsq":
        return FiniteScalarQuantizer((5, 4, 3), channel_first=channel_first)
    return VectorQuantizer(12, 3, kmeans_init=False, channel_first=channel_first)


def vectors(grid: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(2, *grid, 3, generator=torch.Generator().manual_seed(seed)) * 0.5


@pytest.mark.parametrize("kind", ["vq", "fsq"])
@pytest.mark.parametrize("grid", GRIDS)
def test_quantizing_twice_is_quantizing_once(kind, grid):
    quantizer = make(kind).eval()
    first = quantizer(vectors(grid))
    again = quantizer(first.quantized)
    assert torch.equal(again.indices, first.indices)
    assert torch.allclose(again.quantized, first.quantized, atol=1e-6)
    assert torch.equal(quantizer.codes_to_indices(quantizer.indices_to_codes(first.indices)), first.indices)


@pytest.mark.parametrize("kind", ["vq", "fsq"])
def test_channels_first_is_the_same_quantizer(kind):
    x = vectors((4, 5))
    last, first = make(kind).eval()(x), make(kind, channel_first=True).eval()(x.movedim(-1, 1))
    assert torch.equal(last.indices, first.indices)
    assert torch.equal(last.quantized, first.quantized.movedim(1, -1))


@pytest.mark.parametrize("kind", ["vq", "fsq"])
@pytest.mark.parametrize("grid", GRIDS)
def test_gradient_passes_straight_through(kind, grid):
    quantizer = make(kind).eval()
    x = vectors(grid).requires_grad_()
    weight = vectors(grid, seed=1)
    (quantizer(x).quantized * weight).sum().backward()
    assert torch.equal(x.grad, weight)


@pytest.mark.parametrize("kind", ["vq", "fsq"])
@pytest.mark.parametrize("grid", GRIDS)
def test_masked_equals_cropped_and_padding_changes_nothing(kind, grid):
    x = vectors(grid)
    padded = torch.cat([x, torch.full_like(x, 9.0)], dim=1)
    mask = torch.zeros(padded.shape[:-1], dtype=torch.bool)
    mask[:, : grid[0]] = True
    plain, masked = make(kind), make(kind)
    a, b = plain(x), masked(padded, mask)
    assert torch.equal(a.indices, b.indices[:, : grid[0]])
    assert torch.equal(b.quantized[:, grid[0] :], torch.zeros_like(x))
    for name in ("loss", "perplexity", "usage", "quantization_error"):
        assert torch.allclose(getattr(a, name), getattr(b, name)), name
    plain.update(), masked.update()
    assert all(torch.allclose(p, q) for p, q in zip(plain.buffers(), masked.buffers(), strict=True))


def test_all_true_mask_is_no_mask():
    x = vectors((4, 5))
    a, b = make("vq")(x), make("vq")(x, torch.ones(2, 4, 5, dtype=torch.bool))
    assert a.loss == b.loss and torch.equal(a.quantized, b.quantized)


@pytest.mark.parametrize("kind", ["vq", "fsq"])
def test_a_nan_vector_is_counted_and_never_enters(kind):
    quantizer = make(kind)
    x = vectors((6,))
    x[0, 0, 0] = torch.nan
    out = quantizer(x)
    quantizer.update()
    assert int(out.nonfinite) == 1
    assert out.loss.isfinite() and out.quantized.isfinite().all()
    assert all(b.isfinite().all() for b in quantizer.buffers())


def test_update_is_the_ema_of_counts_and_sums():
    quantizer = make("vq")
    before_counts, before_sums = quantizer.ema_counts.clone(), quantizer.ema_sums.clone()
    x = vectors((50,))
    indices = quantizer(x).indices.reshape(-1)
    quantizer.update()
    counts = torch.bincount(indices, minlength=12).float()
    sums = torch.zeros(12, 3).index_add_(0, indices, x.reshape(-1, 3))
    assert torch.allclose(quantizer.ema_counts, 0.99 * before_counts + 0.01 * counts)
    assert torch.allclose(quantizer.ema_sums, 0.99 * before_sums + 0.01 * sums, atol=1e-6)


def test_accumulation_and_checkpointing_move_the_codebook_once():
    x = vectors((40,))
    whole, parts, checkpointed = make("vq"), make("vq"), make("vq")
    whole(x)
    parts(x[:1]), parts(x[1:])
    y = x.clone().requires_grad_()
    out = torch.utils.checkpoint.checkpoint(lambda z: checkpointed(z).quantized, y, use_reentrant=False)
    out.sum().backward()
    for quantizer in (whole, parts, checkpointed):
        quantizer.update()
    assert torch.allclose(whole.codebook, parts.codebook, atol=1e-6)
    assert torch.allclose(whole.codebook, checkpointed.codebook, atol=1e-6)
    before = whole.codebook.clone()
    whole.update()
    assert torch.equal(before, whole.codebook), "an update without new data must not move anything"


def test_attached_codebook_moves_after_each_optimizer_step():
    quantizer, weight = make("vq"), torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    quantizer.attach(optimizer)
    quantizer(vectors((9,)) * weight).loss.backward()
    before = quantizer.codebook.clone()
    optimizer.step()
    assert int(quantizer.updates) == 1 and not torch.equal(before, quantizer.codebook)


def test_dead_codes_come_back():
    """Clustered data and a start far away: without revival most codes are never found."""
    centers = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)) * 5
    results = {}
    for threshold in (0.0, 0.1):
        generator = torch.Generator().manual_seed(1)
        quantizer = VectorQuantizer(48, 4, kmeans_init=False, threshold_ema_dead_code=threshold)
        for _ in range(500):
            pick = torch.randint(40, (400,), generator=generator)
            out = quantizer((centers[pick] + 0.1 * torch.randn(400, 4, generator=generator))[None])
            quantizer.update()
        results[threshold] = out
    assert float(results[0.1].usage) > 0.9 > float(results[0.0].usage)
    assert float(results[0.1].quantization_error) < 0.5 * float(results[0.0].quantization_error)


def test_kmeans_start_uses_every_code():
    quantizer = VectorQuantizer(16, 3)
    assert float(quantizer(vectors((400,))).usage) == 1.0


@pytest.mark.parametrize("chunk", [7, 1024])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_nearest_code_agrees_with_float64_also_on_offset_data(chunk, mean):
    generator = torch.Generator().manual_seed(0)
    x = mean + 0.3 * torch.randn(2000, 16, generator=generator)
    codes = mean + 0.3 * torch.randn(256, 16, generator=generator)
    exact = torch.cdist(x.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
    assert torch.equal(nearest_code(x, codes, chunk), exact)


def test_autocast_does_not_change_an_index():
    quantizer, x = make("vq").eval(), vectors((500,))
    plain = quantizer(x).indices
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantizer(x).indices, plain)


def test_perplexity_and_usage_are_those_of_the_indices():
    quantizer = make("fsq").eval()
    out = quantizer(vectors((90,)))
    p = torch.bincount(out.indices.flatten(), minlength=60) / out.indices.numel()
    assert torch.allclose(out.perplexity, torch.exp(torch.special.entr(p).sum()))
    assert torch.allclose(out.usage, (p > 0).float().mean())


@pytest.mark.parametrize("kind", ["vq", "fsq"])
def test_evaluation_exports(kind):
    quantizer, x = make(kind).eval(), vectors((6,))

    class Indices(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.quantizer = quantizer

        def forward(self, z):
            return self.quantizer(z).indices

    program = torch.export.export(Indices(), (x,))
    assert torch.equal(program.module()(x), quantizer(x).indices)


def test_unpacks_as_quantized_indices_loss():
    quantized, indices, loss = make("vq")(vectors((5,)))
    assert quantized.shape == (2, 5, 3) and indices.dtype == torch.int64 and loss.ndim == 0
