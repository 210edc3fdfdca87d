"""What a command needs is looked up, parsed, loaded and decoded once."""

from collections import Counter

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import vqfusion.data.folder as folder
import vqfusion.hub as hub
import vqfusion.models.kinds as kinds
import vqfusion.models.restoration.fitted as fitted
import vqfusion.models.restoration.noise_seen as noise_seen
from vqfusion.config import PriorConfig
from vqfusion.data import Dataset, Record, as_sample, open_dataset
from vqfusion.data.kept import kept
from vqfusion.data.record import split_of_key
from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.restoring import restore
from vqfusion.tasks import restoration
from vqfusion.tasks.restoring import Denoise
from vqfusion.types import Sample

SMOOTH = torch.linspace(0.2, 0.8, 72).expand(3, 64, 72)


@pytest.fixture
def calls(monkeypatch):
    """How often functions were called, by name: they run as they are."""
    counted = Counter()

    def count(module, name):
        function = getattr(module, name)

        def counting(*arguments, **named):
            counted[name] += 1
            return function(*arguments, **named)

        monkeypatch.setattr(module, name, counting)

    count(hub, "find_model")
    count(kinds, "open_model")
    count(restoration, "parse_level")
    return counted


def noisy(name: str) -> str:
    pixels = np.random.default_rng(0).normal(128, 25, (24, 20, 3)).clip(0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(name)
    return name


def test_a_model_is_looked_up_and_loaded_once(cli, calls):
    assert cli("imagine", *[f"{i} apples" for i in range(9)], "-o", "out", "--steps", "1")[0] == 0
    assert (calls["find_model"], calls["open_model"]) == (1, 1)
    calls.clear()
    assert cli("denoise", noisy("a.png"), noisy("b.png"), "--sigma", "25/255")[0] == 0
    assert calls == {"find_model": 1, "open_model": 1, "parse_level": 1}


@pytest.mark.parametrize("name", ["colour.png", "grey.png", "clear.png", "fine.jpg", "coarse.jpg", "noise.jpg"])
def test_the_noise_of_a_picture_is_estimated_once(tmp_path, monkeypatch, name):
    """Fine and coarse JPEG files are denoised; of the coarse ones one is restored as what it is."""
    monkeypatch.chdir(tmp_path)
    picture = torch.rand(3, 64, 72, generator=torch.Generator().manual_seed(0)) if "noise" in name else SMOOTH
    pixels = (255 * picture + 8 * torch.randn(picture.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 255)
    image = Image.fromarray(pixels.byte().movedim(0, 2).numpy())
    if name == "grey.png":
        image = image.convert("L")
    if name == "clear.png":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(name, quality=10 if name in ("coarse.jpg", "noise.jpg") else 95)
    estimated = []

    def counting(y):
        estimated.append(y.shape)
        return estimate_noise(y)

    for module in (fitted, noise_seen):
        monkeypatch.setattr(module, "estimate_noise", counting)
    prior = Prior(PriorConfig(channels=3, widths=(4,), depths=(1,))).eval()
    Denoise()(prior, as_sample(name))
    assert len(estimated) == 1
    estimated.clear()
    restore(prior, name)
    assert len(estimated) == 1


def test_a_level_is_parsed_once(calls):
    task = Denoise(sigma="25/255")
    assert [task.level for _ in range(3)] == [25 / 255] * 3
    assert calls["parse_level"] == 1


PICTURES = [f"{kind}/{kind}-{i:02d}" for kind in ("flat", "steep") for i in range(12)]
STAGE = {"steps": 2, "batch": 2, "warmup_steps": 1}
TRAININGS = {
    "fusion": {"size": "tiny", "image_size": 16, "tokenizer_steps": 2, "steps": 20, "batch": 2},
    "prior": {"prior": {"channels": 1, "widths": [4], "depths": [1]}, "crop": 8, "sizes": [], "stage": STAGE},
    "latent": {"latent": {}, "image_size": 8, "label": "label", "tokenizer_stage": STAGE, "stage": STAGE},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TRAININGS)
def test_training_scans_its_folder_once_and_decodes_each_picture_once(cli, tmp_path, monkeypatch, kind):
    """24 pictures with captions and labels; a chain also makes an entropy model, previews and a calibration of them."""
    for name in PICTURES:
        path = tmp_path / "mine" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((24, 20), 60).save(path)
        path.with_suffix(".txt").write_text(f"a {path.stem} thing")
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"name": "x", "data": "mine"} | TRAININGS[kind]))
    read, scan, decoded, scanned = folder.read, folder.open_folder, Counter(), []

    def counting(path, *arguments):
        decoded[path.relative_to(tmp_path / "mine").with_suffix("").as_posix()] += 1
        return read(path, *arguments)

    monkeypatch.setattr(folder, "read", counting)
    monkeypatch.setattr(folder, "open_folder", lambda *given: scanned.append(given) or scan(*given))
    code, _, err = cli("train", tmp_path / "my.yaml", "-o", "run", "--device", "cpu")
    assert code == 0, err
    assert len(scanned) == 1 and sum(decoded.values()) <= len(decoded) + 1, "one is read before, to see that it can be"
    assert {name for name in PICTURES if split_of_key(name) == "train"} <= decoded.keys() <= set(PICTURES)
    if kind == "fusion":
        assert (tmp_path / "run" / "samples" / "step-000020.png").exists()
        assert set(decoded) & {name for name in PICTURES if split_of_key(name) == "val"}


def test_kept_samples_are_as_small_as_training_takes_them_and_no_more_than_fit(monkeypatch):
    monkeypatch.setenv("VQFUSION_MAX_MEMORY", str(4 * (2 * 3 * 8 * 8 + 100)))  # a quarter: two pictures, and no third
    calls = Counter()

    def source(i: int):
        def load() -> Sample:
            calls[i] += 1
            return Sample("image", torch.rand(1, 32, 24, generator=torch.Generator().manual_seed(i)))

        return load

    whole = Dataset("x", [Record(str(i), "train", sources={"image": source(i)}) for i in range(3)])
    small = kept(whole, 8)
    first, again = ([record.load("image").data for record in small.records] for _ in range(2))
    assert calls == {0: 1, 1: 1, 2: 2}
    assert all(torch.equal(a, b) and a.shape == (3, 8, 8) for a, b in zip(first, again, strict=True))
    assert all(torch.equal((one * 255).round() / 255, one) for one in first), "8 bits a colour"
    digit = open_dataset("digits").records[0]
    assert kept(open_dataset("digits"), 8).records[0].load("label") == digit.load("label")
