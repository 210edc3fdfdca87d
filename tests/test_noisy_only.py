"""Training on noisy data alone: blind spots, pairs, the choice of a method, and what is refused."""

import json

import numpy as np
import pytest
import torch
import yaml

from vqfusion.config import OwnNoiseConfig, PriorConfig, PriorTrainingConfig, StageConfig
from vqfusion.data.record import Dataset, Record
from vqfusion.diffusion.gaussian.noise_correlation import noise_correlation
from vqfusion.diffusion.gaussian.noise_curve import noise_curve
from vqfusion.errors import UserError
from vqfusion.models.restoration.own_noise import held_out
from vqfusion.models.restoration.prior import Prior
from vqfusion.nn.blind_spot import blinded, corners, interleaved, separated, spots, widened
from vqfusion.train.restoration.noisy.choose import choose
from vqfusion.train.restoration.noisy.lessons import Lesson, Taught, compared, halves, lessons
from vqfusion.train.restoration.noisy.signals import NoisySignals, load, stands_still, times_of
from vqfusion.types import Sample

SMALL = {"widths": (8, 12), "depths": (1, 1), "leak": 0.03}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hills(*size: int, seed: int = 0) -> torch.Tensor:
    """A smooth signal `[1, *size]` in about [0.2, 0.8]."""
    grids = torch.meshgrid(*(torch.arange(n) / 9.0 for n in size), indexing="ij")
    phases = torch.rand(len(size), generator=generator(seed)) * 6
    return 0.5 + 0.3 * torch.stack([torch.sin(g + p) for g, p in zip(grids, phases, strict=True)]).mean(0)[None]


def prior_of(method: str, rank: int = 2, reach=None, stride=None) -> Prior:
    """An untrained prior with random weights in its last layer."""
    noise = OwnNoiseConfig(method=method, reach=reach or (0,) * rank, stride=stride or (1,) * rank)
    modality = {1: "series", 2: "image", 3: "volume"}[rank]
    torch.manual_seed(0)
    prior = Prior(PriorConfig(modality=modality, clean=False, noise=noise, **SMALL))
    torch.nn.init.normal_(prior.network.last.weight, std=0.1)
    return prior.eval()


def training(method: str = "auto", rank: int = 2, **stage) -> PriorTrainingConfig:
    modality = {1: "series", 2: "image", 3: "volume"}[rank]
    stage = StageConfig(**({"steps": 4, "batch": 2} | stage))
    config = PriorConfig(modality=modality, clean=False, **SMALL)
    return PriorTrainingConfig(name="own", data="", prior=config, stage=stage, crop=16, method=method)


def signals_of(*signals: torch.Tensor, repeats=(), shared: bool = True) -> NoisySignals:
    return NoisySignals(list(signals), [str(i) for i in range(len(signals))], [list(g) for g in repeats], shared)


@pytest.mark.parametrize("rank, reach", [(1, (0,)), (1, (2,)), (2, (0, 0)), (2, (0, 2)), (3, (0, 0, 0))])
def test_the_output_has_no_gradient_to_its_own_input(rank, reach):
    prior = prior_of("blind_spot", rank, reach)
    size = {1: (40,), 2: (18, 20), 3: (8, 8, 10)}[rank]
    x = torch.rand(1, 1, *size, generator=generator()).requires_grad_()
    made = prior.denoise(x)
    for place in [tuple(n // 2 for n in size), tuple(n // 3 for n in size), (0,) * rank]:
        (gradient,) = torch.autograd.grad(made[(0, 0, *place)], x, retain_graph=True)
        own = gradient[0, 0][tuple(slice(max(0, p - r), p + r + 1) for p, r in zip(place, reach, strict=True))]
        if 0 not in place:  # at the border a reflection is the same element again
            assert float(own.abs().max()) == 0
        assert float(gradient.abs().max()) > 0


def test_a_hidden_element_has_no_influence_and_gets_the_median_of_its_surroundings():
    x = torch.arange(25.0).reshape(1, 1, 5, 5)
    hidden = torch.zeros(5, 5, dtype=torch.bool)
    hidden[2, 2] = True
    first = blinded(x, hidden)
    assert float(first[0, 0, 2, 2]) == 11.0 and torch.equal(first[..., ~hidden], x[..., ~hidden])
    x[0, 0, 2, 2] = 1e6
    assert torch.equal(blinded(x, hidden), first)
    assert torch.isfinite(blinded(x, ~hidden)).all(), "windows grow until they hold a visible element"


def test_spots_hold_every_element_once_and_are_widened_along_an_axis():
    cell = (2, 6)
    total = sum(spots((5, 13), cell, corner).int() for corner in corners(cell))
    assert torch.equal(total, torch.ones(5, 13, dtype=torch.int))
    wide = widened(spots((4, 12), (4, 12), (1, 5)), (0, 2))
    assert wide.nonzero().tolist() == [[1, 3], [1, 4], [1, 5], [1, 6], [1, 7]]


def test_separated_signals_are_interleaved_again():
    x = torch.rand(2, 3, 6, 8, generator=generator())
    parts = separated(x, (3, 2))
    assert parts.shape == (12, 3, 2, 4) and torch.equal(parts[:2], x[:, :, ::3, ::2])
    assert torch.equal(interleaved(parts, (3, 2)), x)


def test_the_loss_at_blind_spots_is_j_invariant():
    """E|f(y) - y|^2 = E|f(y) - x|^2 + noise variance, because the error is independent of the noise there."""
    prior = prior_of("blind_spot")
    x, sigma = hills(64, 64), 0.2
    y = x + sigma * torch.randn(64, 1, 64, 64, generator=generator())
    with torch.no_grad():
        made = prior.denoise(y)
    between = (made - y).square().mean() - (made - x).square().mean()
    assert float(between) == pytest.approx(sigma**2, rel=0.02)


def test_recorrupted_data_have_independent_noise_and_the_level_that_is_told():
    x, sigma = hills(128, 128), 0.1
    y = x + sigma * torch.randn(1, 128, 128, generator=generator(1))
    config = training("recorrupted", batch=64)
    data = signals_of(*[y] * 3)
    chosen = choose(config, data)
    assert chosen.levels[0] == pytest.approx(sigma, rel=0.1)
    lesson = lessons(data, chosen, config)(0, 0, 1)
    usable = (lesson.weight > 0) & (lesson.level > 0)
    first, second = lesson.given - lesson.target, lesson.level
    told = (second / chosen.levels[0]).square() - 1  # a squared
    expected = chosen.levels[0] * (told.sqrt() + 1 / told.sqrt())  # deviation of (a + 1/a) s z
    ratio = (first / expected)[usable]
    assert float(ratio.std()) == pytest.approx(1, rel=0.03)


def test_noise2noise_on_a_linear_gaussian_case_is_the_closed_form():
    """The best linear estimate of one noisy copy from the other is that of the signal: var / (var + sigma^2)."""
    x = torch.randn(4000, 1, 16, generator=generator(), dtype=torch.float64)
    first, second = (x + 0.7 * torch.randn(x.shape, generator=generator(s), dtype=torch.float64) for s in (1, 2))
    slope = torch.zeros((), dtype=torch.float64, requires_grad=True)

    class Linear(torch.nn.Module):
        config = PriorConfig(clean=False, noise=OwnNoiseConfig(method="pairs", reach=(0, 0), stride=(1, 1)))

        def _clean(self, given, level):
            return slope * given

    taught = Taught.__new__(Taught)
    torch.nn.Module.__init__(taught)
    taught.prior = Linear()
    one = torch.ones_like(first)
    loss, _ = taught.loss(Lesson(first, 0 * one, second, one, torch.zeros(len(x), 2, 1, dtype=torch.long)))
    (gradient,) = torch.autograd.grad(loss, slope)
    curvature = 2 * float(first.square().mean())
    assert -float(gradient) / curvature == pytest.approx(1 / 1.49, rel=0.01)


def test_halves_are_different_neighbours_of_the_same_cells():
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    places = torch.rand(1, 4, 4, 4, generator=generator()).argsort(1)[:, :2]
    first, second = halves(x, places)
    assert first.shape == (1, 1, 4, 4) and bool((first != second).all())
    for part in (first, second):
        row, column = (part // 8).long(), (part % 8).long()
        assert torch.equal(row // 2, torch.arange(4)[:, None].expand(4, 4)[None, None])
        assert torch.equal(column // 2, torch.arange(4).expand(4, 4)[None, None])


def blurred_noise(size, axis: int | None, seed: int) -> torch.Tensor:
    noise = torch.randn(1, *size, generator=generator(seed))
    axes = range(1, 1 + len(size)) if axis is None else [axis]
    for one in axes:
        noise = noise + 0.6 * (noise.roll(1, one) + noise.roll(-1, one))
    return noise / noise.std()


def test_correlated_noise_is_noticed_along_its_axes():
    white = [hills(96, 96, seed=s) + 0.1 * torch.randn(1, 96, 96, generator=generator(s)) for s in range(3)]
    rows = [hills(96, 96, seed=s) + 0.1 * blurred_noise((96, 96), 2, s) for s in range(3)]
    both = [hills(96, 96, seed=s) + 0.1 * blurred_noise((96, 96), None, s) for s in range(3)]
    assert float(noise_correlation(white[0]).correlation.abs().max()) < 0.1
    assert float(noise_correlation(rows[0]).correlation[1, 0]) > 0.3
    assert choose(training(), signals_of(*white)).noise == OwnNoiseConfig(
        method="recorrupted", reach=(0, 0), stride=(1, 1)
    )
    found = choose(training(), signals_of(*rows))
    assert found.noise.method == "blind_spot" and found.noise.reach[0] == 0 and found.noise.reach[1] >= 2
    found = choose(training(), signals_of(*both))
    assert found.noise.method == "recorrupted" and min(found.noise.stride) >= 3 and "few apart" in found.reason


def test_noise_that_is_correlated_too_far_is_refused_in_one_line():
    from torch.nn import functional

    noise = torch.randn(3, 1, 256, 256, generator=generator())
    slow = functional.avg_pool2d(functional.pad(noise, (6, 6, 6, 6), mode="circular"), 13, 1)
    signals = [0.5 + 0.1 * one / one.std() for one in slow]
    with pytest.raises(UserError, match="more values than can be told"):
        choose(training(), signals_of(*signals))


def test_noise_that_follows_the_brightness_gets_a_curve():
    x = hills(160, 160)
    y = x + (0.001 + 0.02 * x).sqrt() * torch.randn(x.shape, generator=generator())
    curve = noise_curve([y])
    assert curve is not None
    bright = curve.sigma(torch.full((1, 1, 9, 9), 0.7))[0, 0, 4, 4]
    assert float(bright) == pytest.approx((0.001 + 0.02 * 0.7) ** 0.5, rel=0.2)
    assert noise_curve([x + 0.1 * torch.randn(x.shape, generator=generator())]) is None


def test_repeated_acquisitions_are_pairs_where_they_stand_still():
    x = hills(64, 64)
    still = [x + 0.1 * torch.randn(x.shape, generator=generator(s)) for s in range(4)]
    moving = [hills(64, 64, seed=s) + 0.1 * torch.randn(x.shape, generator=generator(s)) for s in range(4)]
    assert stands_still(still) and not stands_still(moving)
    found = choose(training(), signals_of(*still, repeats=[range(4)]))
    assert found.noise.method == "pairs" and found.repeats == [[0, 1, 2, 3]]
    found = choose(training(), signals_of(*moving, repeats=[range(4)]))
    assert found.noise.method == "recorrupted" and "moves" in found.lines[0]
    with pytest.raises(UserError, match="repeated acquisitions"):
        choose(training("pairs"), signals_of(*still))


def test_held_out_elements_are_never_compared_with():
    y = hills(64, 64) + 0.1 * torch.randn(1, 64, 64, generator=generator())
    weight, out = compared(y, 3), held_out(y.shape, 3)
    assert 0.01 < float(out.float().mean()) < 0.022 and float(weight[out].abs().max()) == 0
    assert torch.equal(out, held_out(y.shape, 3)) and not torch.equal(out, held_out(y.shape, 4))


@pytest.mark.parametrize("method", ["recorrupted", "neighbours", "pairs", "blind_spot"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_every_method_learns_at_every_rank(method, rank):
    size = {1: (256,), 2: (40, 48), 3: (20, 20, 24)}[rank]
    x = hills(*size)
    signals = [x + 0.1 * torch.randn(x.shape, generator=generator(s)) for s in range(2)]
    config, data = training(method, rank), signals_of(*signals, repeats=[[0, 1]])
    chosen = choose(config, data)
    prior = prior_of(method, rank)
    loss, report = Taught(prior).loss(lessons(data, chosen, config)(3, 0, 1))
    loss.backward()
    assert torch.isfinite(loss) and float(report["error"]) > 0
    assert float(prior.network.first.weight.grad.abs().max()) > 0
    answer = prior.denoise(x[None], 0.1)
    assert answer.shape == x[None].shape and torch.isfinite(answer).all()


def recorded(*samples: Sample, keys=None) -> Dataset:
    keys = keys or [f"s{i}" for i in range(len(samples))]
    records = [
        Record(key, "train", sources={s.modality: (lambda s=s: s)}) for key, s in zip(keys, samples, strict=True)
    ]
    return Dataset("made", records)


def test_files_that_differ_in_a_number_are_repeats_and_constant_ones_are_left_out():
    pictures = [Sample("image", (hills(32, 32) + 0.1 * torch.rand(1, 32, 32, generator=generator(s))).clamp(0, 1))
                for s in range(3)]  # fmt: skip
    flat = Sample("image", torch.full((1, 32, 32), 0.5))
    found = load(training(), recorded(*pictures, flat, keys=["a_1", "a_2", "b", "c_1"]))
    assert found.repeats == [[0, 1]] and found.names == ["a_1", "a_2", "b"]
    with pytest.raises(UserError, match="constant pictures only"):
        load(training(), recorded(flat))


def test_bad_data_are_one_line():
    broken = hills(32, 32)
    broken[0, 3, 3] = torch.nan
    volume = Sample("volume", broken[None])
    with pytest.raises(UserError, match="s0: holds NaN"):
        load(training(), recorded(volume))
    with pytest.raises(UserError, match="holds no image"):
        load(training(), recorded(Sample("series", torch.rand(1, 99))))
    with pytest.raises(UserError, match="smaller than 16"):
        choose(training(), signals_of(torch.rand(1, 9, 9)))
    clean = torch.linspace(0, 1, 64).expand(1, 64, 64).contiguous()
    with pytest.raises(UserError, match="no noise was found"):
        choose(training(), signals_of(clean))
    half = hills(64, 64) + 0.1 * torch.randn(1, 64, 64, generator=generator())
    half[:, :32] = 2.0
    assert "clipped" in choose(training(), signals_of(half)).lines[0]


def test_times_are_what_the_file_says_and_never_guessed():
    class Stored:
        axes, shape = "TCYX", (3, 2, 8, 8)

    series = Sample("volume", torch.rand(6, 1, 8, 8), extras=Stored())
    assert times_of(series, 2) == [[0, 2, 4], [1, 3, 5]]
    Stored.axes, Stored.shape = "CZYX", (6, 1, 8, 8)
    assert times_of(series, 2) == []
    assert times_of(Sample("volume", torch.rand(6, 1, 8, 8)), 2) == []


def test_simulated_damage_and_methods_need_their_kind_of_data():
    with pytest.raises(ValueError, match="leave them out"):
        PriorTrainingConfig(name="x", data="", prior=PriorConfig(clean=False), holes=0.1)
    with pytest.raises(ValueError, match="clean: false"):
        PriorTrainingConfig(name="x", data="", method="pairs")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with a noisy picture of 16 bits and a YAML file, and the prior that the command trains."""
    import tifffile

    from vqfusion.cli import main

    folder = tmp_path_factory.mktemp("noisy")
    (folder / "cells").mkdir()
    y = hills(80, 96)[0] + 0.05 * torch.randn(80, 96, generator=generator())
    tifffile.imwrite(folder / "cells" / "a.tif", (1000 + 3000 * y).round().numpy().astype(np.uint16))
    prior = {"clean": False} | {name: list(value) for name, value in SMALL.items() if name != "leak"}
    content = {"name": "own", "data": "cells", "prior": prior, "stage": {"steps": 20, "batch": 2}, "crop": 32}
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    assert main(["train", str(folder / "own.yaml"), "-o", str(folder / "run"), "--device", "cpu"]) == 0
    return folder


def test_the_command_trains_on_one_noisy_picture_and_denoise_uses_it(own, cli):
    import tifffile

    config = json.loads((own / "run" / "config.json").read_text())["config"]
    assert config["modality"] == "image" and not config["clean"] and config["noise"]["method"] == "recorrupted"
    code, out, err = cli("denoise", own / "cells" / "a.tif", "--model", own / "run", "-o", "b.tif")
    assert code == 0, err
    made = tifffile.imread("b.tif")
    assert made.dtype == np.uint16 and made.shape == (80, 96)
    assert not np.array_equal(made, tifffile.imread(own / "cells" / "a.tif"))


def test_a_prior_that_was_told_no_level_draws_no_samples(cli, tmp_path):
    prior_of("neighbours").save_pretrained(tmp_path / "prior")
    Sample("image", hills(32, 32)).save(tmp_path / "a.png")
    code, _, err = cli("denoise", "a.png", "--model", "prior", "-o", "b.png", "--mode", "sample")
    assert code == 2 and "without noise levels" in err and err.count("\n") == 1
