"""Diffusion in latents: equal to diffusion of signals under the identity, standardised, guided, saved, trained."""

import json
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

import vqfusion
from vqfusion.config import (
    AudioTokenizerConfig,
    ImageTokenizerConfig,
    LatentDiffusionConfig,
    LatentTrainingConfig,
    SeriesTokenizerConfig,
    StageConfig,
    TextVQVAEConfig,
    VolumeTokenizerConfig,
    VQVAEConfig,
)
from vqfusion.diffusion.gaussian.denoiser import NetworkDenoiser, denoising_loss
from vqfusion.diffusion.gaussian.flow import make_path
from vqfusion.diffusion.gaussian.path import GaussianPath
from vqfusion.diffusion.gaussian.samplers import sample_signal
from vqfusion.diffusion.noise import draw_noise, seeded
from vqfusion.errors import UserError
from vqfusion.models.latent.latent_diffusion import NOTHING, LatentBatch, LatentDiffusion
from vqfusion.models.sampling import Sampling
from vqfusion.nn.unet import UNet
from vqfusion.tokenizers.build import build_network
from vqfusion.tokenizers.vqvae import VQVAE
from vqfusion.train.latent.data import LabelledSignals, latent_batches, load_labelled
from vqfusion.train.latent.recipe import RECIPES
from vqfusion.train.latent.trainer import train
from vqfusion.train.loop.signals import Interrupted
from vqfusion.train.recipes import recipe
from vqfusion.types import Sample

CODEC = VQVAEConfig(channels=1, widths=(8, 8), depths=(0, 1), codebook_size=16, dim=3)
EXAMPLE = Path(__file__).parent.parent / "examples" / "own_latents.yaml"


class Identity:
    """A tokenizer that does nothing."""

    latent_channels = 1

    def to_latents(self, batch):
        return batch

    def from_latents(self, z, snap=True):
        return z


def awake(module: nn.Module) -> nn.Module:
    """With numbers in place of the zeros that networks end with at first."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if not bool(parameter.any()):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module


def make(**options) -> LatentDiffusion:
    """Over an untrained VQ-VAE, with two classes."""
    torch.manual_seed(0)
    tokenizer = ImageTokenizerConfig(vqvae=CODEC)
    config = LatentDiffusionConfig(tokenizer=tokenizer, width=8, steps=3, classes=("a", "b"), grid=(4, 4), **options)
    model = LatentDiffusion.from_config(config)
    awake(model.network)
    return model.eval()


def pictures(count: int = 6, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def batch(count: int = 6) -> LatentBatch:
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return LatentBatch(pictures(count), torch.arange(count) % 3 - 1, places, torch.arange(count) + 5)


@pytest.mark.parametrize("path", ["cosine", "flow", GaussianPath("linear", data_std=0.5)])
def test_over_the_identity_it_is_diffusion_of_the_signal_to_the_bit(path):
    torch.manual_seed(0)
    network = awake(UNet(1, 8, (1, 2))).eval()
    model = LatentDiffusion(Identity(), network, (8, 8), path=path).eval()
    denoiser, plain = NetworkDenoiser(network, make_path(path), "v"), batch()
    noise = draw_noise((1, 8, 8), [torch.Generator().manual_seed(int(s)) for s in plain.seeds])
    expected = denoising_loss(denoiser, make_path(path), plain.signal, noise, plain.places).mean()
    assert torch.equal(model.loss(plain)[0], expected)
    made = model.sample(3, seed=7, steps=4, sampler="heun")
    direct = sample_signal(denoiser, make_path(path), (1, 8, 8), 4, seeded(7, 3), sampler="heun")
    assert torch.equal(made.signal, direct.signal) and made.nfe == direct.nfe


def test_latents_are_standardised_and_come_back():
    model, x = make(), pictures(40)
    raw = model.codec.to_latents(x)
    assert torch.equal(model.encode(x), raw), "mean 0 and deviation 1 change nothing"
    model.standardise(x.split(16))
    z = model.encode(x)
    assert z.mean(dim=(0, 2, 3)).abs().max() < 1e-5 and (z.std(dim=(0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert torch.allclose(model.raw(z), raw, atol=1e-6)
    ids = model.codec.encode_batch(x)
    assert torch.equal(model.decode(z), model.codec.decode_batch(ids)), "snapped, it is the round trip over codes"
    smooth = model.decode(z, snap=False)
    assert smooth.shape == x.shape and not torch.equal(smooth, model.decode(z))


def test_snapped_samples_are_what_codes_decode_to():
    model = make()
    model.standardise([pictures(20)])
    z = model.sample_latents(range(4)).signal
    ids = model.codec.vqvae.quantizer(model.raw(z)).indices
    assert torch.equal(model.sample(4).signal, model.codec.decode_batch(ids))
    assert torch.equal(model.sample(4, snap=False).signal, model.codec.from_latents(model.raw(z), snap=False))


def test_an_item_has_its_seed_and_not_its_batch():
    model = make()
    for sampler in ("dpmpp_2m", "ddpm"):
        whole = model.sample_latents(range(3, 11), sampler=sampler).signal
        assert torch.allclose(model.sample_latents([5], sampler=sampler).signal[0], whole[2], atol=1e-5)
        assert not torch.allclose(whole[0], whole[1], atol=1e-2)


def test_guidance_of_one_is_the_conditional_model_and_zero_the_unconditional():
    model, labels = make(), torch.tensor([0, 1, 1])
    conditional = model.sample_latents(range(3), labels, guidance_scale=1.0)
    assert conditional.nfe == 3
    nothing = model.sample_latents(range(3)).signal
    assert not torch.allclose(conditional.signal, nothing, atol=1e-3)
    assert torch.allclose(model.sample_latents(range(3), labels, guidance_scale=0.0).signal, nothing, atol=1e-4)
    untold = torch.full((3,), NOTHING)
    assert torch.equal(model.sample_latents(range(3), untold, guidance_scale=1.0).signal, nothing)
    guided = model.sample_latents(range(3), labels, guidance_scale=2.0)
    assert guided.nfe == 6 and not torch.allclose(guided.signal, conditional.signal, atol=1e-3)
    late = model.sample_latents(range(3), labels, guidance_scale=2.0, interval=(0.0, 1e-6))
    assert torch.equal(late.signal, conditional.signal) and late.nfe == 3


def test_classes_reach_the_loss_and_those_not_told_do_not():
    model, plain = make(), batch()
    told = model.loss(plain)[0]
    assert not torch.equal(told, model.loss(plain._replace(labels=2 - plain.labels % 2 - 1))[0])
    blind = LatentDiffusion(model.codec, model.network, (4, 4), ()).eval()
    untold = plain._replace(labels=torch.full_like(plain.labels, NOTHING))
    assert torch.equal(model.loss(untold)[0], blind.loss(plain)[0])


def test_the_tokenizer_is_frozen_and_the_denoiser_learns():
    model = make().train()
    assert not model.codec.training and model.network.training
    state = {name: t.clone() for name, t in model.codec.state_dict().items()}
    model.loss(batch())[0].backward()
    assert all(p.grad is None for p in model.codec.parameters())
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.last.parameters())
    assert all(torch.equal(t, state[name]) for name, t in model.codec.state_dict().items())


class Known(nn.Module):
    """The exact v of latents N(0, 1): zero."""

    def forward(self, x, t, given=None):
        return torch.zeros_like(x)


def test_samples_of_an_exact_denoiser_have_the_moments_of_the_latents():
    model = make()
    exact = LatentDiffusion(model.codec, Known(), (4, 4))
    exact.standardise([pictures(64)])
    raw = exact.raw(exact.sample_latents(range(256), steps=2, sampler="euler").signal)
    assert torch.allclose(raw.mean(dim=(0, 2, 3)), exact.mean, atol=0.1 * float(exact.std.max()))
    assert torch.allclose(raw.std(dim=(0, 2, 3)), exact.std, rtol=0.1)


TINY = dict(widths=(8, 8), depths=(0, 1), dim=4)
RANKS = [
    (AudioTokenizerConfig(vqvae=VQVAEConfig(rank=1, channels=257, **TINY)), (2, 3200)),
    (VolumeTokenizerConfig(vqvae=VQVAEConfig(rank=3, channels=1, **TINY)), (2, 1, 6, 8, 4)),
    (SeriesTokenizerConfig(vqvae=VQVAEConfig(rank=1, channels=1, **TINY)), (2, 1, 20)),
    (VQVAEConfig(rank=3, channels=2, quantizer="fsq", **TINY), (2, 2, 4, 4, 6)),
    (TextVQVAEConfig(vqvae=VQVAEConfig(rank=1, channels=8, **TINY)), (2, 12)),
]


@pytest.mark.parametrize("network", ["unet", "transformer"])
@pytest.mark.parametrize("config, shape", RANKS, ids=[type(config).__name__ for config, _ in RANKS])
def test_every_tokenizer_at_every_rank(tmp_path, config, shape, network):
    torch.manual_seed(0)
    codec = VQVAE(config) if isinstance(config, VQVAEConfig) else build_network(config)
    text = isinstance(config, TextVQVAEConfig)
    x = torch.randint(256, shape) if text else torch.rand(shape) - 0.5
    grid = tuple(codec.eval().to_latents(x).shape[2:])
    model = LatentDiffusion.from_config(
        LatentDiffusionConfig(tokenizer=config, network=network, width=32, levels=2, steps=2, grid=grid), codec
    )
    model.standardise([x])
    plain = LatentBatch(x, torch.full((2,), NOTHING), torch.tensor([0.2, 0.7], dtype=torch.float64), torch.arange(2))
    model.loss(plain)[0].backward()
    awake(model.network)
    made = model.eval().sample(2).signal
    assert made.shape == x.shape and made.dtype == x.dtype
    model.save_pretrained(tmp_path)
    back = vqfusion.load(str(tmp_path), "cpu")
    assert isinstance(back, LatentDiffusion) and back.config == model.config and not back.training
    assert torch.equal(back.sample(2).signal, made)


def test_foreign_folders_and_parts_without_a_config_are_refused(tmp_path):
    model = make()
    with pytest.raises(ValueError, match="no config"):
        LatentDiffusion(model.codec, model.network, (4, 4)).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "prior": {}}))
    with pytest.raises(UserError, match="holds a prior, not a latent-diffusion"):
        LatentDiffusion.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="sampler 'plms'"):
        model.sample(1, sampler="plms")


# Training


def small(**more) -> LatentTrainingConfig:
    stage = dict(batch=4, warmup_steps=0, precision="fp32", checkpoint_every_s=1e9)
    return LatentTrainingConfig(
        name="small",
        data="digits",
        image_size=8,
        latent=LatentDiffusionConfig(tokenizer=ImageTokenizerConfig(vqvae=CODEC), width=8, steps=2),
        tokenizer_stage=StageConfig(steps=2, **stage),
        stage=StageConfig(steps=4, **stage),
        **{"label": "label", **more},
    )


def test_batches_are_a_function_of_the_step_and_processes_share_them():
    data = LabelledSignals([torch.full((1, 8, 8), i, dtype=torch.uint8) for i in range(10)], torch.arange(10), (8, 8))
    batches = latent_batches(data, small(drop_label=0.5))
    whole, again = batches(3, 0, 1), batches(3, 0, 1)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    halves = [batches(3, rank, 2) for rank in range(2)]
    assert all(torch.equal(torch.cat(parts), one) for parts, one in zip(zip(*halves, strict=True), whole, strict=True))
    assert sorted((whole.places * 4).long().tolist()) == [0, 1, 2, 3], "times are stratified"
    many = torch.cat([batches(step, 0, 1).labels for step in range(100)])
    assert 0.4 < float((many == NOTHING).float().mean()) < 0.6
    seen = [batches(step, 0, 1) for step in range(9)]
    values = torch.cat([(255 * one.signal[:, 0, 0, 0]).round()[one.labels >= 0] for one in seen])
    assert torch.equal(values.long(), torch.cat([one.labels[one.labels >= 0] for one in seen]))


def test_stopped_and_resumed_training_gives_the_same_bits_and_the_verbs_use_it(tmp_path, cli):
    accelerator = Accelerator(cpu=True)
    whole = train(small(), tmp_path / "whole", accelerator, show=False)
    with pytest.raises(Interrupted):
        train(small(), tmp_path / "cut", accelerator, stop_after=2, show=False)
    resumed = train(small(), tmp_path / "cut", accelerator, show=False)
    back = LatentDiffusion.from_pretrained(tmp_path / "cut")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]) and torch.equal(value, back.state_dict()[name]), name
    assert back.classes == tuple("0123456789") and back.grid == (4, 4)
    given = ("any", "--target", "image", "--model", tmp_path / "whole", "--seed", "3")
    code, out, err = cli(*given, "--given", "label=7", "--samples", "2", "-o", "seven.png")
    assert (code, err) == (0, "") and out.split() == ["seven-1.png", "seven-2.png"]
    with Image.open("seven-1.png") as made:
        assert made.size == (8, 8)
    assert cli(*given, "-o", "some.png")[0] == 0
    for arguments, words in (
        ((*given, "--given", "label=x", "-o", "x.png"), "choose one of"),
        (("any", "--target", "audio", "--model", tmp_path / "whole", "-o", "x.wav"), "only the slot 'image'"),
        (("imagine", "a cat", "--model", tmp_path / "whole", "-o", "x.png"), "only the slot 'image'"),
        (("denoise", "seven-1.png", "--model", tmp_path / "whole", "-o", "x.png"), "restores nothing"),
    ):
        code, out, err = cli(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1) and words in err, err


def test_samples_of_verbs_depend_on_seed_item_and_number():
    model = make()
    two = [Sample("label", "a"), Sample("label", "b")]
    made = model.generate({"label": two}, "image", Sampling(samples=2, seed=4))
    assert [len(row) for row in made.samples] == [2, 2] and made.samples[0][0].data.shape == (1, 8, 8)
    alone = model.generate({"label": two[0]}, "image", Sampling(samples=1, seed=4))
    assert torch.allclose(alone.samples[0][0].data, made.samples[0][0].data, atol=1e-5)
    assert len(model.generate({}, "image").samples) == 1
    for seed in (20251127184512, 10**40):
        a, b = (model.generate({"label": two}, "image", Sampling(seed=seed)).samples[1][0].data for _ in "ab")
        assert torch.equal(a, b)


def test_one_command_and_one_file(tmp_path, cli):
    assert set(RECIPES) <= {"digits-latent"} and recipe("digits-latent").label == "label"
    pictures_folder = tmp_path / "pictures"
    pictures_folder.mkdir()
    for i in range(6):
        Image.new("RGB", (16, 16), (40 * i, 100, 50)).save(pictures_folder / f"{i}.png")
    text = EXAMPLE.read_text().replace("image_size: 32", "image_size: 16") + "tokenizer_stage: {steps: 2, batch: 2}\n"
    (tmp_path / "own.yaml").write_text(text.replace("steps: 3000", "steps: 2, batch: 2"))
    training = recipe(str(tmp_path / "own.yaml"))
    assert training.data == str(pictures_folder) and training.stage.learning_rate == 2e-3
    code, out, err = cli("train", tmp_path / "own.yaml", "--dry-run", "--json", "--device", "cpu")
    plan = json.loads(out)
    assert code == 0 and [one["name"] for one in plan["networks"]] == ["tokenizer image", "latent diffusion"]
    assert plan["networks"][1]["parameters"] > 0 and not Path("runs").exists()
    code, out, err = cli("train", tmp_path / "own.yaml", "-o", "run", "--device", "cpu", "--json")
    assert code == 0 and json.loads(out)["grid"] == [4, 4]
    assert cli("any", "--target", "image", "--model", "run", "-o", "a.png")[0] == 0
    with Image.open("a.png") as made:
        assert made.size == (16, 16)
    code, out, err = cli("train", tmp_path / "own.yaml", "-o", "other", "--device", "cpu", "--start", "emoji")
    assert code == 0 and LatentDiffusion.from_pretrained("other").config.tokenizer.vqvae.widths == (32, 64, 128)


def test_mistakes_in_a_file_are_one_line(tmp_path):
    for section, words in (
        ("latent: {width: big}", "latent.width"),
        ("latent: {tokenizer: {kind: text-vqvae}}", "image, audio, volume, series"),
        ("latent: {tokenizer: {kind: volume}}\nlabel: colour", "colour"),
    ):
        path = tmp_path / "own.yaml"
        path.write_text(f"name: own\ndata: solids\n{section}\n")
        with pytest.raises(UserError, match=words):
            train(recipe(str(path)), tmp_path / "run", Accelerator(cpu=True), show=False)


def test_volumes_and_series_are_cropped_for_their_tokenizers():
    for data, config in (("solids", VolumeTokenizerConfig(crop=16)), ("waves", SeriesTokenizerConfig(crop=64))):
        latent = LatentDiffusionConfig(tokenizer=config)
        training = small(label=None).model_copy(update={"latent": latent, "data": data})
        dataset = vqfusion.open_dataset(data)
        few = type(dataset)(data, [record for record in dataset.records if record.split == "train"][:4])
        batches = latent_batches(load_labelled(training, few, build_network(config)), training)
        assert batches(0, 0, 1).signal.shape == (4, 1, *(config.crop,) * config.vqvae.rank)
