"""The search for codes: an optimum that is known, never worse, each item by itself, every modality."""

import itertools

import pytest
import torch

from vqfusion.config import (
    AudioTokenizerConfig,
    ImageTokenizerConfig,
    SeriesTokenizerConfig,
    TextVQVAEConfig,
    VolumeTokenizerConfig,
    VQVAEConfig,
)
from vqfusion.errors import UserError
from vqfusion.tokenizers import network
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.quantizers import FiniteScalarQuantizer, ResidualVectorQuantizer, VectorQuantizer
from vqfusion.tokenizers.search import search_codes


def quantizer(size: int = 16, dim: int = 3) -> VectorQuantizer:
    return VectorQuantizer(dim, size, kmeans_init=False).eval()


def test_a_quadratic_error_of_every_position_by_itself_is_brought_to_its_minimum():
    """|A (c - t)|^2 with A far from a rotation: the best code is that of the smallest |A (c - t)|, not of |c - t|."""
    q, generator = quantizer(), torch.Generator().manual_seed(0)
    stretch = torch.randn(3, 3, generator=generator) @ torch.diag(torch.tensor([3.0, 1.0, 0.1]))
    target = 0.5 * torch.randn(4, 6, 3, generator=generator)
    nearest = q(target).indices
    each = ((q.codes() - target[:, :, None]) @ stretch.T).square().sum(-1)
    assert (nearest != each.argmin(-1)).any(), "the nearest codes are not the best"
    found = search_codes(nearest, q, lambda z: ((z - target) @ stretch.T).square().sum((1, 2)), 60)
    assert torch.equal(found, each.argmin(-1))


def test_in_the_end_no_other_code_at_any_one_position_is_better():
    """A decoder that is neither linear nor local; against one change at a time, and against every set of codes."""
    q, generator = quantizer(5), torch.Generator().manual_seed(1)
    mix = torch.randn(12, 20, generator=generator)
    target = torch.randn(8, 20, generator=generator)

    def error(ids: torch.Tensor) -> torch.Tensor:
        return ((q.indices_to_codes(ids).flatten(1) @ mix).tanh() - target).square().mean(1)

    start = torch.zeros(8, 4, dtype=torch.int64)
    found = search_codes(start, q, lambda z: ((z.flatten(1) @ mix).tanh() - target).square().mean(1), 60)
    for position, code in itertools.product(range(4), range(5)):
        changed = found.clone()
        changed[:, position] = code
        assert (error(changed) >= error(found) - 1e-6).all()
    every = torch.tensor(list(itertools.product(range(5), repeat=4)))
    best = torch.stack([error(one.expand(8, 4)) for one in every]).amin(0)
    gained = (error(start) - error(found)) / (error(start) - best)
    assert gained.mean() > 0.8


@pytest.fixture(scope="module")
def pictures():
    torch.manual_seed(0)
    tokenizer = build_network(
        ImageTokenizerConfig(vqvae=VQVAEConfig(widths=(8, 8, 8), depths=(0, 0, 1), codebook_size=40, dim=4))
    ).eval()
    return tokenizer, torch.rand(3, 3, 24, 16)


@torch.no_grad()
def errors(tokenizer, batch, ids):
    return tokenizer.distortion(batch)(tokenizer.vqvae.decode(ids))


@pytest.mark.parametrize("rounds", [1, 2, 12])
def test_no_item_gets_worse_and_most_get_better(pictures, rounds):
    tokenizer, batch = pictures
    before = errors(tokenizer, batch, tokenizer.encode_batch(batch))
    after = errors(tokenizer, batch, tokenizer.encode_batch(batch, rounds))
    assert (after <= before).all()
    assert (after < before).any()


def test_no_rounds_are_the_nearest_codes(pictures):
    tokenizer, batch = pictures
    nearest = tokenizer.encode_batch(batch)
    assert torch.equal(search_codes(nearest, tokenizer.vqvae.quantizer, lambda z: z.sum(), 0), nearest)


def test_a_batch_is_its_items():
    q, generator = quantizer().double(), torch.Generator().manual_seed(2)
    mix = torch.randn(36, 50, generator=generator, dtype=torch.float64)
    target = torch.randn(5, 50, generator=generator, dtype=torch.float64)
    start = torch.randint(16, (5, 12), generator=generator)

    def searched(items: slice) -> torch.Tensor:
        return search_codes(
            start[items], q, lambda z: ((z.flatten(1) @ mix).sin() - target[items]).square().mean(1), 30
        )

    alone = torch.cat([searched(slice(i, i + 1)) for i in range(5)])
    assert torch.equal(searched(slice(None)), alone)
    assert (alone != start).any(dim=1).all()


TINY = dict(widths=(8, 8), depths=(0, 1), codebook_size=40, dim=4)
OTHERS = {
    "sound": (
        AudioTokenizerConfig(hop_samples=100, vqvae=VQVAEConfig(rank=1, channels=257, quantizer="fsq", **TINY)),
        lambda: 0.1 * torch.randn(2, 3000),
    ),
    "volume": (
        VolumeTokenizerConfig(vqvae=VQVAEConfig(rank=3, channels=1, **TINY)),
        lambda: torch.randn(2, 1, 8, 6, 4),
    ),
    "series": (SeriesTokenizerConfig(vqvae=VQVAEConfig(rank=1, channels=1, **TINY)), lambda: torch.randn(3, 1, 32)),
    "text": (
        TextVQVAEConfig(vqvae=VQVAEConfig(rank=1, channels=8, **TINY)),
        lambda: torch.randint(1, 256, (2, 31)),
    ),
}


@pytest.mark.parametrize("modality", OTHERS)
def test_every_modality_gains(modality):
    torch.manual_seed(0)
    config, batch = OTHERS[modality]
    tokenizer, batch = build_network(config).eval(), batch()
    before = errors(tokenizer, batch, tokenizer.encode_batch(batch))
    after = errors(tokenizer, batch, tokenizer.encode_batch(batch, 6))
    assert (after <= before).all()
    assert after.sum() < 0.999 * before.sum()


@pytest.mark.parametrize("modality", OTHERS)
def test_the_search_lessens_what_training_lessens(modality):
    torch.manual_seed(0)
    config, batch = OTHERS[modality]
    tokenizer, batch = build_network(config).eval(), batch()
    with torch.no_grad():
        loss, _ = tokenizer.loss(batch)
        of_codes = tokenizer.vqvae(tokenizer.prepare(batch)).codes.loss
    distortion = errors(tokenizer, batch, tokenizer.encode_batch(batch)).mean()
    assert float(distortion) == pytest.approx(float(loss - of_codes), rel=1e-4)


def test_beyond_black_and_white_nothing_counts(pictures):
    tokenizer, _ = pictures
    batch = torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16), torch.full((3, 16, 16), 0.5)])
    signal = torch.stack([torch.full((3, 16, 16), v) for v in (-3.0, 4.0, 2.0)])
    assert torch.equal(tokenizer.distortion(batch)(signal), torch.tensor([0.0, 0.0, 1.0]))


def test_grids_of_numbers_are_searched_too():
    q = FiniteScalarQuantizer((5, 5)).eval()
    target = torch.rand(2, 7, 2) - 0.5
    start = torch.zeros(2, 7, dtype=torch.int64)
    found = search_codes(start, q, lambda z: (z - target).square().sum((1, 2)), 40)
    assert torch.equal(found, torch.cdist(target, q.lookup(torch.arange(25)).expand(2, -1, -1)).argmin(-1))


def test_several_codes_for_a_vector_are_refused():
    q = ResidualVectorQuantizer(3, 8, num_quantizers=2)
    with pytest.raises(ValueError, match="ResidualVectorQuantizer gives several"):
        search_codes(torch.zeros(1, 4, 2, dtype=torch.int64), q, lambda z: z.sum((1, 2)), 1)


def test_signals_that_are_too_large_are_refused_in_one_line(pictures, monkeypatch):
    monkeypatch.setattr(network, "SEARCHABLE", 100)
    with pytest.raises(UserError, match="a search takes up to 100 positions, this image has 384"):
        pictures[0].encode_batch(pictures[1], 1)


def test_of_one_code_there_is_nothing_to_search():
    q, start = VectorQuantizer(4, 1).eval(), torch.zeros(2, 5, dtype=torch.int64)
    assert torch.equal(search_codes(start, q, lambda z: z.square().sum((1, 2)), 2), start)
