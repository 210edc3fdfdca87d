"""The damage that a prior learns to undo: what is lost, uneven noise, and what a camera does, each as it says."""

import pytest
import torch

from vqfusion.config import PriorConfig, PriorTrainingConfig, StageConfig
from vqfusion.errors import UserError
from vqfusion.train.recipes import recipe
from vqfusion.train.restoration import camera, holes
from vqfusion.train.restoration.damage import other_contrast
from vqfusion.train.restoration.trainer import crop_and_batch, noisy_batches
from vqfusion.train.restoration.uneven import uneven_noise


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(side: int = 64, channels: int = 3) -> torch.Tensor:
    coarse = torch.rand(1, channels, 5, 5, generator=generator(3)) * 0.6 + 0.2
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)[0].clamp(0, 1)


def training(**shares: float) -> PriorTrainingConfig:
    prior = PriorConfig(channels=3, widths=(8,), depths=(1,))
    stage = StageConfig(steps=100, batch=8)
    return PriorTrainingConfig(name="toy", data="none", prior=prior, stage=stage, crop=32, **shares)


def batch(step: int = 0, **shares: float):
    picture = (smooth(200) * 255).to(torch.uint8)
    return noisy_batches([picture], training(**shares))(step, 0, 1)


@pytest.mark.parametrize("shape", [(1, 500), (3, 40, 30), (1, 12, 10, 8)])
def test_some_values_are_lost_and_some_are_left_at_every_rank(shape):
    shares = []
    for seed in range(40):
        lost = holes.lost_values(shape, generator(seed))
        assert lost.shape == shape and lost.dtype == torch.bool
        shares.append(float(lost.float().mean()))
    assert 0 < min(shares) and max(shares) < 0.97
    assert sum(shares) / 40 > 0.15


def test_a_mosaic_leaves_one_colour_a_pixel_and_green_twice():
    left = ~holes.mosaic((6, 8), generator())
    assert torch.equal(left.sum(0), torch.ones(6, 8, dtype=torch.long))
    assert left.flatten(1).sum(1).tolist() == [12, 24, 12]


def test_the_less_is_left_around_a_lost_value_the_more_error_is_expected():
    lost = torch.zeros(1, 40, 40, dtype=torch.bool)
    lost[:, 5, 5] = lost[:, 20:30, 20:30] = True
    expected = holes.error_of_lost(lost, 0.0065)
    assert float(expected[0, 25, 25]) > 3 * float(expected[0, 20, 20]) > 3 * float(expected[0, 5, 5])


def test_uneven_noise_is_as_strong_as_its_map_says():
    clean = smooth(64)
    ratios, told = [], []
    for seed in range(30):
        noise = torch.randn(clean.shape, generator=generator(100 + seed))
        noisy, true, known = uneven_noise(clean, noise, 0.1, (0.0, 1.0), generator(seed))
        ratios.append(float(((noisy - clean) / true).std()))
        told.append(float((known / true).log().abs().mean()))
        assert float(true.std()) > 0
    assert all(abs(ratio - 1) < 0.02 for ratio in ratios)
    assert max(told) < 0.4, "what one knows is near what is true"


def test_items_are_told_what_they_should_be():
    white = batch(grey=1.0)
    assert all(torch.equal(x[:, :1].expand_as(x), x) for x in (white.clean, white.noisy))
    lost = batch(holes=1.0, blind=1.0)
    assert bool(((lost.level == 0) | lost.level.isinf()).all()), "what is lost is always told"
    assert bool(lost.level.isinf().flatten(1).any(1).all())
    seen = batch(camera=1.0)
    assert float(seen.level.abs().max()) == 0, "what a camera did is never told"
    both = batch(holes=0.5, camera=0.5)
    assert int(both.level.isinf().flatten(1).any(1).sum()) == 4, "kinds are stratified over the batch"
    for one in (white, lost, seen, both):
        assert all(bool(torch.isfinite(x).all()) for x in (one.clean, one.noisy, one.remains))
        assert float(one.remains.min()) > 0


def test_crops_grow_late_and_a_batch_has_as_many_fewer():
    late = training(late_crop=64)
    assert [crop_and_batch(late, step) for step in (0, 74, 75, 99)] == [(32, 8), (32, 8), (64, 2), (64, 2)]
    assert batch(80, late_crop=64).clean.shape == (2, 3, 64, 64)


def test_shares_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="together at most 1"):
        training(holes=0.6, camera=0.6)
    grey = recipe("grey-prior").model_dump()
    with pytest.raises(ValueError, match="3 channels"):
        PriorTrainingConfig(**(grey | {"camera": 0.1}))


def test_light_and_back_is_the_same_and_the_middle_is_darker_in_light():
    x = torch.linspace(0, 1, 101)
    assert torch.allclose(camera.from_linear(camera.to_linear(x)), x, atol=1e-5)
    assert float(camera.to_linear(torch.tensor(0.5))) == pytest.approx(0.2140, abs=1e-4)


@pytest.mark.parametrize("straight", [False, True])
def test_a_mosaic_of_one_colour_is_that_colour_and_of_a_ramp_the_ramp(straight):
    flat = torch.tensor([0.2, 0.5, 0.8])[:, None, None].expand(3, 12, 12)
    inner = camera.demosaiced(flat, straight)[:, 2:-2, 2:-2]
    assert torch.allclose(inner, flat[:, 2:-2, 2:-2], atol=1e-5)
    ramp = (torch.arange(12.0) / 20 + 0.1).expand(3, 12, 12)
    assert torch.allclose(camera.demosaiced(ramp, straight)[:, 2:-2, 2:-2], ramp[:, 2:-2, 2:-2], atol=1e-5)
    grey = smooth(32)[:1].expand(3, -1, -1)
    made = camera.demosaiced(grey, straight)
    assert float((made - grey)[:, 3:-3, 3:-3].abs().max()) < 0.05


def test_what_a_camera_made_is_like_the_reference_and_as_large_as_asked_for():
    errors = []
    for seed in range(60):
        draw = generator(seed)
        side = camera.source_side(32, draw)
        clean, made = camera.photographed(smooth(side), 32, draw)
        assert clean.shape == made.shape == (3, 32, 32)
        assert 0 <= float(made.min()) and float(made.max()) <= 1
        errors.append(float((made - clean).square().mean().sqrt()))
    assert 0.001 < sorted(errors)[30] < 0.1 and max(errors) < 0.3, "damaged, but the same picture in the same place"


def test_jpeg_of_better_quality_is_nearer_and_halved_colours_are_farther():
    x = torch.rand(3, 32, 32, generator=generator())

    def distance(*how: int) -> float:
        return float((camera.jpeg(x, *how) - x).square().mean())

    assert distance(95, 0) < distance(50, 0) and distance(95, 0) < distance(95, 2)


def test_a_prior_says_what_it_learned(tmp_path):
    from accelerate import Accelerator

    from vqfusion.data import Dataset, Record
    from vqfusion.train.restoration.trainer import train
    from vqfusion.types import Sample

    toy = training(holes=0.3, camera=0.2, grey=0.5)
    toy = toy.model_copy(update={"stage": toy.stage.model_copy(update={"steps": 2, "batch": 2}), "crop": 16})
    cpu, data = Accelerator(cpu=True), Dataset("x", [Record("a", "train", sources={"image": lambda: picture})])
    picture = Sample("image", (smooth(80) * 255).to(torch.uint8).float() / 255)
    prior = train(toy, tmp_path / "first", cpu, data, show=False)
    assert prior.config.learned == ("grey", "holes", "camera")
    other = toy.model_copy(update={"holes": 0.0})
    again = train(other, tmp_path / "again", cpu, data, start=tmp_path / "first", show=False)
    assert again.config.learned == ("grey", "camera")
    with pytest.raises(UserError, match="another config"):
        wide = other.model_copy(update={"prior": PriorConfig(channels=3, widths=(12,), depths=(1,))})
        train(wide, tmp_path / "wide", cpu, data, start=tmp_path / "first", show=False)


def test_another_contrast_keeps_or_reverses_the_order_of_values_within_the_range():
    x = torch.linspace(-1, 1, 101)[None]
    ways = set()
    for seed in range(20):
        steps = other_contrast(x, (-1.0, 1.0), generator(seed)).diff()
        assert (steps > 0).all() or (steps < 0).all()
        made = other_contrast(x, (-1.0, 1.0), generator(seed))
        assert torch.allclose(made.sort().values[0, [0, -1]], torch.tensor([-1.0, 1.0]), atol=1e-6)
        ways.add(bool(steps[0, 50] > 0))
    assert ways == {True, False}
    plain, other = batch(), batch(contrast=1.0)
    assert not torch.equal(plain.clean, other.clean)
    assert torch.equal(batch(contrast=0.0).noisy, plain.noisy), "a share of 0 draws nothing"
