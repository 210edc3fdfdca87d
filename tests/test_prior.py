"""Priors: local and scale-free at every rank, told or blind, saved and refused, trained to the bit across stops."""

import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from rounding import NETWORK
from torch import nn

import vqfusion
from vqfusion.config import PriorConfig, PriorTrainingConfig, StageConfig
from vqfusion.data import Dataset, Record
from vqfusion.data.photos import SOURCES, read_resources
from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.diffusion.gaussian.samplers import sample_signal
from vqfusion.errors import UserError
from vqfusion.hub import ZOO
from vqfusion.models.restoration.mirrored import MirroredPrior
from vqfusion.models.restoration.prior import NoisyBatch, Prior, reflect_to_multiple
from vqfusion.nn.restoration import RestorationNet, filled, fold_positions, unfold_positions
from vqfusion.nn.weights import load_weights, save_json
from vqfusion.nn.windows import box_mean, local_mean
from vqfusion.train.loop.power_average import averaged
from vqfusion.train.loop.signals import Interrupted
from vqfusion.train.recipes import recipe
from vqfusion.train.restoration.damage import remaining
from vqfusion.train.restoration.data import in_range, load_signals, open_data, reduced
from vqfusion.train.restoration.distillation import taught_by
from vqfusion.train.restoration.recipe import RECIPES
from vqfusion.train.restoration.trainer import noise_levels, noisy_batches, train
from vqfusion.types import Sample

EXAMPLE = Path(__file__).parent.parent / "examples" / "own_prior.yaml"
SMALL = {"widths": (8, 12), "depths": (1, 1)}
STAGE = StageConfig(
    steps=12, batch=4, learning_rate=3e-3, warmup_steps=2, weight_decay=0.0, precision="fp32", checkpoint_every_s=1e9
)


def awake(prior: Prior, seed: int = 0) -> Prior:
    """With random weights in place of the zeros that it starts with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in prior.parameters():
            fan = parameter[0].numel()
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.5 / fan) ** 0.5)
    return prior.eval()


def small(modality: str = "image", channels: int = 1, **more) -> Prior:
    return awake(Prior(PriorConfig(modality=modality, channels=channels, **(SMALL | more))))


def stripes(count: int = 6, size: int = 24) -> list[torch.Tensor]:
    """Pictures `[1, size, size]` of bars of random width, as bytes."""
    generator = torch.Generator().manual_seed(7)
    out = []
    for i in range(count):
        period = int(torch.randint(4, 9, (1,), generator=generator))
        bars = (torch.arange(size) // period % 2 * 200 + 20).to(torch.uint8).expand(1, size, size)
        out.append(bars if i % 2 else bars.transpose(1, 2))
    return out


def data() -> Dataset:
    """The pictures of bars as a data set."""
    samples = [Sample("image", bars.float() / 255) for bars in stripes()]
    return Dataset(
        "stripes", [Record(str(i), "train", sources={"image": lambda one=one: one}) for i, one in enumerate(samples)]
    )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_folding_is_undone_and_is_pixel_unshuffle(rank, factor):
    x = torch.randn(2, 3, *(4 * n for n in (1, 2, 3)[:rank]))
    folded = fold_positions(x, factor)
    assert torch.equal(unfold_positions(folded, factor), x)
    if rank == 2:
        assert torch.equal(folded, torch.nn.functional.pixel_unshuffle(x, factor))


@pytest.mark.parametrize(("modality", "size"), [("audio", (37,)), ("image", (13, 18)), ("volume", (9, 6, 11))])
def test_one_network_serves_every_rank_and_size(modality, size):
    prior = small(modality, channels=2, fold=4 if modality == "audio" else 2)
    x = torch.rand(2, 2, *size)
    assert prior.denoise(x, 0.1).shape == x.shape
    assert prior.denoise(x.double()).dtype == torch.float64


def test_no_place_depends_on_what_lies_beyond_the_receptive_radius_and_one_reaches_it():
    network = RestorationNet(1, 1, (4, 6, 8), (1, 1, 1), 2)
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1.0)  # nothing cancels
    length, radius = 40 * network.multiple, network.receptive_radius
    reach = 0
    for place in range(length // 2, length // 2 + network.multiple):
        x = torch.rand(1, 1, length, requires_grad=True)
        network(x, torch.ones(1))[0, 0, place].backward()
        seen = x.grad[0, 0].nonzero()[:, 0]
        reach = max(reach, place - int(seen.min()), int(seen.max()) - place)
    assert reach == radius


def test_a_tile_with_its_margin_gives_what_the_whole_gives():
    prior = small()
    x = torch.rand(1, 1, 160, 96)
    margin = -(-prior.receptive_radius // prior.multiple) * prior.multiple
    tile = prior.denoise(x[:, :, 64 - margin : 96 + margin], 0.1)
    whole = prior.denoise(x, 0.1)
    assert torch.allclose(tile[:, :, margin:-margin], whole[:, :, 64:96], atol=NETWORK)


def test_contrast_and_noise_scaled_together_scale_the_answer():
    prior = small()
    x, sigma = torch.rand(2, 1, 16, 16), torch.tensor([0.1, 0.2])
    middle = 0.5
    halved = prior.denoise(middle + (x - middle) / 2, sigma / 2)
    assert torch.allclose(halved, middle + (prior.denoise(x, sigma) - middle) / 2, atol=NETWORK)


def test_a_batch_is_its_items_and_a_level_is_one_number_or_one_for_each():
    prior = small()
    x, sigma = torch.rand(8, 1, 16, 16), torch.linspace(0.02, 0.9, 8)
    together = prior.denoise(x, sigma)
    alone = torch.cat([prior.denoise(x[i : i + 1], float(sigma[i])) for i in range(8)])
    assert torch.allclose(together, alone, atol=NETWORK)
    assert torch.equal(prior.denoise(x, 0.1), prior.denoise(x, torch.full((8,), 0.1)))
    assert not torch.equal(prior.denoise(x), prior.denoise(x, 0.1)), "blind is not told"
    assert torch.equal(prior.denoise(x, 0.0), prior.denoise(x, prior.sigma_range[0])), "zero is not blind"


@pytest.mark.parametrize(
    ("modality", "size", "axes"), [("audio", (16,), ()), ("image", (16, 16), (2,)), ("volume", (8, 8, 8), (3, 4))]
)
def test_the_mean_over_mirrored_copies_does_not_change_with_the_mirror(modality, size, axes):
    prior = MirroredPrior(small(modality))
    x = torch.rand(2, 1, *size)
    if modality == "audio":
        assert torch.allclose(prior.denoise(-x, 0.1), -prior.denoise(x, 0.1), atol=NETWORK)
    else:
        assert torch.allclose(prior.denoise(x.flip(axes), 0.1), prior.denoise(x, 0.1).flip(axes), atol=NETWORK)
    if modality == "image":
        assert torch.allclose(prior.denoise(x.mT, 0.1), prior.denoise(x, 0.1).mT, atol=NETWORK)
        level = torch.rand(2, 1, *size)
        assert torch.allclose(prior.denoise(x.mT, level.mT), prior.denoise(x, level).mT, atol=NETWORK)
    assert prior.sigma_range == (0.002, 1.0)


def test_a_level_is_one_number_or_a_map_and_old_weights_say_the_same():
    prior = small(channels=3)
    x = torch.rand(2, 3, 13, 18)
    one = prior.denoise(x, torch.tensor([0.1, 0.3]))
    flat = torch.tensor([0.1, 0.3])[:, None, None, None].expand(2, 1, 13, 18)
    assert torch.allclose(prior.denoise(x, flat), one, atol=NETWORK)
    assert torch.allclose(prior.denoise(x, flat.expand(2, 3, 13, 18)), one, atol=NETWORK)
    uneven = flat.clone()
    uneven[:, :, :4] = 0.01
    assert not torch.allclose(prior.denoise(x, uneven)[:, :, :4], one[:, :, :4], atol=1e-3)

    weight = prior.network.first.weight
    half = weight.shape[1] // 2
    old = prior.state_dict() | {
        "network.first.weight": torch.cat([weight[:, :half], weight[:, half:].sum(1, keepdim=True)], dim=1)
    }
    loaded = Prior(prior.config)
    loaded.load_state_dict(old)
    assert torch.allclose(loaded.eval().denoise(x, 0.2), prior.denoise(x, 0.2), atol=NETWORK)


@pytest.mark.parametrize(("modality", "size"), [("audio", (64,)), ("image", (24, 24)), ("volume", (8, 8, 8))])
def test_what_is_lost_does_not_count_and_begins_as_the_mean_of_what_is_near(modality, size):
    prior = small(modality, learned=("holes",))
    x, sigma = torch.rand(1, 1, *size), torch.full((1, 1, *size), 0.01)
    lost = torch.rand(size, generator=torch.Generator().manual_seed(0)) < 0.5
    sigma[0, 0, lost] = torch.inf
    other = x.clone()
    other[0, 0, lost] = torch.nan
    assert torch.equal(prior.denoise(x, sigma), prior.denoise(other, sigma))
    assert prior.receptive_radius > prior.network.receptive_radius
    idle = Prior(prior.config).denoise(x, sigma).detach()  # its network adds nothing yet
    assert torch.allclose(idle[0, 0, ~lost], x[0, 0, ~lost], atol=1e-6)
    line = torch.tensor([[[3.0, 0, 0, 5, 7, 0, 0, 0]]])
    gaps = line == 0
    assert torch.allclose(filled(line, gaps), torch.tensor([[[3, 3, 5, 5, 7, 7, 7, 6]]]).float())
    assert torch.equal(filled(2 * line, gaps), 2 * filled(line, gaps)), "scaled data are filled by scaled values"
    assert torch.equal(filled(torch.ones(1, 1, 4), torch.ones(1, 1, 4) > 0), torch.zeros(1, 1, 4)), "nothing is left"
    for size in ((9,), (9, 7), (9, 7, 5)):  # smaller than the largest box
        level, hole = torch.full((1, 2, *size), 0.7), torch.ones((1, 2, *size), dtype=torch.bool)
        hole[(..., *[-1] * len(size))] = False
        assert torch.allclose(filled(level.masked_fill(hole, 0.0), hole), level), "the only value that is known"


@pytest.mark.parametrize("pool", [nn.functional.avg_pool1d, nn.functional.avg_pool2d, nn.functional.avg_pool3d])
def test_a_mean_over_boxes_is_that_of_the_library(pool):
    rank = int(pool.__name__[-2])
    x = torch.rand(2, 3, *(12, 9, 10)[:rank], generator=torch.Generator().manual_seed(0))
    for reach in (1, 4):
        assert torch.allclose(box_mean(x, reach), pool(x, 2 * reach + 1, 1, reach), atol=1e-6)
        inside = pool(x, 2 * reach + 1, 1, reach, count_include_pad=False)
        assert torch.allclose(local_mean(x, 2 * reach + 1), inside, atol=1e-6)
    whole = x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)
    assert torch.allclose(local_mean(x, 25), whole.expand_as(x), atol=1e-6), "a window beyond all borders"


def test_the_answer_has_a_gradient():
    prior = small().requires_grad_(False)
    x = torch.rand(1, 1, 8, 8, dtype=torch.float32, requires_grad=True)
    prior.denoise(x, 0.1).square().sum().backward()
    assert x.grad is not None and bool(x.grad.abs().sum() > 0)


def test_what_is_not_of_its_kind_is_refused():
    prior = small("audio", sample_rate_hz=16000)
    with pytest.raises(ValueError, match=r"takes \[B, 1, 1 axes\], audio"):
        prior.denoise(torch.rand(1, 1, 8, 8))
    prior.check(Sample("audio", torch.zeros(1, 8), sample_rate_hz=16000))
    for wrong, said in [
        (Sample("image", torch.zeros(1, 8, 8)), "knows audio, not image"),
        (Sample("audio", torch.zeros(2, 8), sample_rate_hz=16000), "1 channels, not 2"),
        (Sample("audio", torch.zeros(1, 8), sample_rate_hz=8000), "at 16000 Hz, not 8000"),
    ]:
        with pytest.raises(UserError, match=said):
            prior.check(wrong)


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (3, 2), (8, 8)])
def test_extension_mirrors_the_far_end_where_it_can(size):
    x = torch.arange(float(size[0] * size[1])).reshape(1, 1, *size)
    extended = reflect_to_multiple(x, 8)
    assert extended.shape[2:] == (8, 8)
    assert torch.equal(extended[..., : size[0], : size[1]], x)
    if size == (5, 8):
        assert torch.equal(extended[..., 5, :], x[..., 3, :])


def test_it_is_a_denoiser_of_every_path_and_drives_the_samplers():
    prior = small()
    x, noise = torch.rand(2, 1, 8, 8), torch.randn(2, 1, 8, 8)
    for path in (GaussianPath("cosine"), prior.path):
        t = path.time_of_noise(torch.tensor([0.1, 0.5]))
        said = prior.as_denoiser(path)(path.add_noise(x, noise, t), t)
        expected = prior.denoise(x + noise * torch.tensor([0.1, 0.5])[:, None, None, None], torch.tensor([0.1, 0.5]))
        assert said.kind == "x0" and torch.allclose(said.value, expected, atol=1e-4)
    assert abs(float(prior.path.sigma(torch.ones(1))) - prior.sigma_range[1]) < 1e-6
    drawn = sample_signal(
        prior.as_denoiser(prior.path), prior.path, (1, 8, 8), steps=3, generators=[torch.Generator().manual_seed(0)]
    )
    assert bool(torch.isfinite(drawn.signal).all())


def test_saved_and_loaded_it_says_the_same_and_foreign_folders_are_refused(tmp_path):
    prior = small(channels=3)
    prior.save_pretrained(tmp_path / "mine")
    loaded = vqfusion.load(str(tmp_path / "mine"), "cpu")
    assert isinstance(loaded, Prior) and loaded.config == prior.config and not loaded.training
    x = torch.rand(1, 3, 16, 16)
    assert torch.allclose(loaded.denoise(x, 0.1), prior.denoise(x, 0.1), atol=5e-3)  # float16 on disk
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == ["README.md", "config.json", "prior.safetensors"]

    stored = json.loads((tmp_path / "mine" / "config.json").read_text())
    for change, said in [
        ({"kind": "system"}, "holds a system, not a prior"),
        ({"format": 99}, "not a vqfusion model of format 1 or 2"),
        ({"config": stored["config"] | {"widths": [8, 16]}}, "do not fit"),
        ({"config": stored["config"] | {"colour": True}}, "colour"),
    ]:
        save_json(tmp_path / "mine" / "config.json", stored | change)
        with pytest.raises(UserError, match=said):
            Prior.from_pretrained(tmp_path / "mine")
    with pytest.raises(UserError, match="emoji: holds a system, not a prior"):
        Prior.from_pretrained(ZOO / "emoji")


def test_noise_levels_are_mostly_in_focus_and_cover_the_range():
    levels = noise_levels(torch.linspace(0, 1, 1001), (0.02, 0.2), (0.002, 1.0))
    assert 0.7 < float(((levels >= 0.02) & (levels <= 0.2)).float().mean()) < 0.95
    assert abs(float(levels.min()) - 0.002) < 1e-3 and float(levels.max()) == pytest.approx(1.0)


def training(name: str = "toy", **more) -> PriorTrainingConfig:
    prior = PriorConfig(**SMALL)
    return PriorTrainingConfig(name=name, data="stripes", prior=prior, stage=STAGE, crop=16, **more)


def test_batches_are_a_function_of_the_step_and_processes_share_them():
    batches = noisy_batches(stripes(), training(candidates=2))
    one, again = batches(3, 0, 1), batches(3, 0, 1)
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    halves = [batches(3, rank, 2) for rank in range(2)]
    assert all(torch.equal(a, torch.cat(b)) for a, b in zip(one, zip(*halves, strict=True), strict=True))
    assert not torch.equal(one.noisy, batches(4, 0, 1).noisy)


def test_stopped_and_resumed_training_gives_the_same_bits(tmp_path):
    cpu = Accelerator(cpu=True)
    whole = train(training(), tmp_path / "whole", cpu, data(), show=False)
    with pytest.raises(Interrupted):
        train(training(), tmp_path / "parts", cpu, data(), stop_after=5, show=False)
    parts = train(training(), tmp_path / "parts", cpu, data(), show=False)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    one, two = (load_weights(tmp_path / name / "training" / "state.safetensors") for name in ("whole", "parts"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_a_student_learns_the_answers_of_its_teacher(tmp_path):
    """It comes nearer to the teacher than to the data, resumes to the same bits, and keeps to one teacher."""
    clean = torch.stack(stripes())[:, :, :16, :16].float() / 255
    teacher = awake(small())
    teacher.save_pretrained(tmp_path / "teacher")
    stage = STAGE.model_copy(update={"steps": 60, "batch": 8, "learning_rate": 5e-3, "ema_decay": 0.9})
    toy, cpu = training(distill="teacher").model_copy(update={"stage": stage}), Accelerator(cpu=True)
    given = dict(data=data(), show=False, teacher=tmp_path / "teacher")
    batch = noisy_batches(stripes(), toy)(0, 0, 1)
    [taught, once] = [taught_by(teacher, noisy_batches(stripes(), toy))(0, 0, 1) for _ in range(2)]
    assert torch.equal(taught.noisy, batch.noisy) and torch.equal(taught.clean, once.clean)
    assert torch.equal(taught.clean, teacher.answer(batch)) and not taught.clean.requires_grad
    student = train(toy, tmp_path / "whole", cpu, **given).requires_grad_(False)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    answers = [prior.denoise(noisy, 0.1) for prior in (student, teacher)]
    start = (noisy - answers[1]).square().mean()  # an untrained network changes nothing
    assert (answers[0] - answers[1]).square().mean() < 0.5 * start
    with pytest.raises(Interrupted):
        train(toy, tmp_path / "parts", cpu, stop_after=5, **given)
    parts = train(toy, tmp_path / "parts", cpu, **given)
    assert all(torch.equal(a, b) for a, b in zip(student.parameters(), parts.parameters(), strict=True))
    awake(small(), seed=3).save_pretrained(tmp_path / "teacher")
    with pytest.raises(UserError, match="another config"):
        train(toy, tmp_path / "parts", cpu, **given)
    small("audio").save_pretrained(tmp_path / "sound")
    for other, words in ((tmp_path / "sound", "modality"), (None, "give the folder")):
        with pytest.raises(UserError, match=words):
            train(toy, tmp_path / "new", cpu, data(), teacher=other)


def test_the_length_of_averaging_is_chosen_after_a_training_that_was_stopped(tmp_path):
    stage = STAGE.model_copy(update={"snapshots": 4})
    toy, cpu = training().model_copy(update={"stage": stage}), Accelerator(cpu=True)
    train(toy, tmp_path / "whole", cpu, data(), show=False)
    with pytest.raises(Interrupted):
        train(toy, tmp_path / "parts", cpu, data(), stop_after=5, show=False)
    parts = train(toy, tmp_path / "parts", cpu, data(), show=False)
    folders = [tmp_path / name / "training" / "snapshots" for name in ("whole", "parts")]
    assert [len(list(folder.iterdir())) for folder in folders] == [8, 8]
    one, two = (averaged(folder, 0.07) for folder in folders)
    assert one.keys() == dict(parts.named_parameters()).keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(UserError, match="no snapshots"):
        averaged(tmp_path / "whole" / "training" / "none", 0.07)
    assert "snapshots" not in STAGE.model_dump() and stage.model_dump()["snapshots"] == 4


def test_a_toy_is_learned_and_what_is_returned_is_what_is_saved(tmp_path):
    stage = STAGE.model_copy(update={"steps": 150, "batch": 8, "learning_rate": 5e-3, "ema_decay": 0.95})
    toy = training().model_copy(update={"stage": stage})
    prior = train(toy, tmp_path, Accelerator(cpu=True), data(), show=False).requires_grad_(False)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "training" / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] * 0.7
    clean = torch.stack(stripes())[:, :, :16, :16].float() / 255
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    for sigma in (0.1, None):
        assert float((prior.denoise(noisy, sigma) - clean).square().mean()) < 0.01 / 2
    saved = Prior.from_pretrained(tmp_path)
    assert torch.equal(saved.denoise(noisy, 0.1), prior.denoise(noisy, 0.1))


def test_an_error_counts_relative_to_the_root_of_what_remains_and_ten_times_that_at_most():
    prior = Prior(PriorConfig(**SMALL))  # starts as the identity: all of the noise remains
    noise = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = noise / noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    sigma = torch.tensor([0.01, 0.02, 0.1])[:, None, None, None].expand_as(noise)
    clean, told = torch.rand(3, 1, 16, 16), torch.tensor([1.0, 1.0, 0.0])[:, None, None, None]
    remains = remaining(sigma, 0.01)
    loss, report = prior.loss(NoisyBatch(clean, clean + sigma * noise, sigma * told, remains))
    expected = [1 / (1 / s**2 + 1 / (0.01 * s)) for s in (0.01, 0.02, 0.1)]
    assert remains[:, 0, 0, 0].tolist() == pytest.approx(expected)
    times = [1 + s / 0.01 for s in (0.01, 0.02, 0.1)]  # 2, 3 and 11, which counts as 10
    assert float(loss.detach()) == pytest.approx(
        sum(min(k, 10) * e**0.5 for k, e in zip(times, expected, strict=True)) / 0.03 / 3, rel=1e-3
    )
    assert float(report["psnr_blind"]) == pytest.approx(20, abs=1e-2)


def test_one_command_trains_a_prior_on_ones_own_files_and_goes_on(tmp_path, cli):
    from PIL import Image

    folder = tmp_path / "pictures"
    folder.mkdir()
    for i, picture in enumerate(stripes(12)):
        Image.fromarray(picture[0].numpy()).save(folder / f"{i}.png")
    own = tmp_path / "own.yaml"
    own.write_text(
        "name: mine\ndata: pictures\nprior: {channels: 1, widths: [8, 12], depths: [1, 1]}\n"
        "stage: {steps: 10, batch: 4, warmup_steps: 2}\ncrop: 16\n"
    )
    code, out, err = cli("train", own, "--dry-run", "--json", "--device", "cpu")
    assert code == 0, err
    plan = json.loads(out)
    assert plan["networks"][0]["steps"] == 10 and not (tmp_path / "runs").exists()
    code, out, err = cli("train", own, "-o", "run", "--json", "--device", "cpu")
    assert code == 0, err
    assert json.loads(out)["modality"] == "image"
    assert isinstance(vqfusion.load("run", "cpu"), Prior)
    assert cli("train", own, "-o", "run", "--json", "--device", "cpu")[0] == 0
    code, _, err = cli("train", own, "-o", "more", "--json", "--device", "cpu", "--start", "run")
    assert code == 0, err
    own.write_text(own.read_text().replace("steps: 10", "steps: 11"))
    assert cli("train", own, "-o", "run", "--device", "cpu")[0] == 0, "more steps go on from where it ended"
    own.write_text(own.read_text().replace("crop: 16", "crop: 8"))
    code, _, err = cli("train", own, "-o", "run", "--device", "cpu")
    assert code == 2 and "another config" in err and len(err.strip().splitlines()) == 1
    assert recipe(str(EXAMPLE)).sizes == (512, 1024) and len(EXAMPLE.read_text().splitlines()) <= 10
    own.write_text("name: mine\ndata: pictures\nprior: {modality: smell}\n")
    code, _, err = cli("train", own)
    assert code == 2 and "prior.modality" in err


def test_signals_are_read_as_the_prior_takes_them(tmp_path):
    from PIL import Image

    Image.new("RGB", (60, 30), (255, 0, 0)).save(tmp_path / "red.png")
    grey = training().model_copy(update={"data": str(tmp_path), "sizes": (20, 40, 100)})
    signals = load_signals(grey, open_data(grey))
    assert [tuple(signal.shape) for signal in signals] == [(1, 30, 60), (1, 10, 20), (1, 20, 40)]
    assert all(abs(int(signal[0, 5, 5]) - 76) <= 1 for signal in signals)
    with pytest.raises(UserError, match="holds no audio"):
        load_signals(grey.model_copy(update={"prior": PriorConfig(modality="audio")}), open_data(grey))
    wide = torch.zeros(3, 8, 16, dtype=torch.uint8)
    assert sorted(r.shape[2] for r in reduced(wide, (4, 8, 16))) == [4, 8, 16]
    assert [r.shape[2] for r in reduced(wide, (4, 14))] == [4], "larger than asked for, but not by a quarter"
    far = torch.linspace(-1000, 3000, 500).reshape(1, 5, 10, 10)
    assert float(in_range(far, (0.0, 1.0)).min()) == 0 and float(in_range(far, (0.0, 1.0)).max()) == 1


def test_recipes_hold_together_and_every_photograph_has_an_author_and_an_open_licence():
    for name in RECIPES:
        config = recipe(name)
        assert isinstance(config, PriorTrainingConfig) and config.name == name
        assert (
            config.crop
            % RestorationNet(
                config.prior.rank, config.prior.channels, config.prior.widths, config.prior.depths, config.prior.fold
            ).multiple
            == 0
        )
    rows = [line.split("\t") for line in SOURCES.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == ["split", "package", "file", "author", "licence", "source"]
    for row in rows[1:]:
        assert len(row) == 6 and all(row)
        assert row[4] in {"CC0-1.0", "public-domain"} or row[4].startswith(("CC-BY-", "CC-BY-SA-"))
    assert len({Path(row[2]).stem for row in rows[1:]}) == len(rows) - 1


@pytest.mark.parametrize(
    ("name", "shape", "level"),
    [("photo", (3, 40, 48), 0.1), ("volume", (1, 16, 16, 16), 0.1), ("sound", (1, 800), 0.05)],
)
def test_the_shipped_priors_are_small_and_take_noise_away(name, shape, level):
    folder = ZOO / name
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16 * 2**20
    assert {"config.json", "prior.safetensors", "README.md"} <= {file.name for file in folder.iterdir()}
    prior = vqfusion.load(name, "cpu")
    ramp = torch.linspace(-0.5, 0.5, shape[-1]).expand(shape)
    voiced = sum((2 * torch.pi * 6 * k * ramp).sin() / k for k in (1, 2, 3)) / 8  # 120 Hz and two harmonics at 16 kHz
    clean = (voiced if name == "sound" else ramp / 2 + 0.5)[None]
    noisy = clean + level * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    for sigma in (level, None):
        assert float((prior.denoise(noisy, sigma) - clean).square().mean()) < level**2 / 2
    vanishing = prior.denoise(clean, prior.sigma_range[0]) - clean
    assert float(vanishing.abs().max()) < 0.05


def test_a_qt_resource_is_read():
    import struct
    import zlib

    def entry(name: str) -> bytes:
        return struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")

    names = entry("folder") + entry("plain.txt") + entry("packed.txt")
    at = [0, len(entry("folder")), len(entry("folder")) + len(entry("plain.txt"))]
    packed = struct.pack(">I", 5) + zlib.compress(b"world")
    contents = struct.pack(">I", 5) + b"hello" + struct.pack(">I", len(packed)) + packed
    tree = struct.pack(">IHII", 0, 2, 1, 1)  # the root: one child, from node 1
    tree += struct.pack(">IHII", at[0], 2, 2, 2)
    tree += struct.pack(">IHHHI", at[1], 0, 0, 0, 0) + struct.pack(">IHHHI", at[2], 1, 0, 0, 9)
    data = (
        b"qres" + struct.pack(">IIII", 1, 20, 20 + len(tree), 20 + len(tree) + len(contents)) + tree + contents + names
    )
    assert dict(read_resources(data)) == {"folder/plain.txt": b"hello", "folder/packed.txt": b"world"}
    with pytest.raises(UserError, match="not a Qt resource"):
        dict(read_resources(b"PK"))
