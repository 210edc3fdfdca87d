"""Pictures that are unlike the training data are told from those that are like it, and the user is told."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from vqfusion.data import open_dataset
from vqfusion.data.io import write
from vqfusion.tokenizers.familiarity import Familiarity, at_border
from vqfusion.tokenizers.kept import load_familiarity, save_familiarity
from vqfusion.types import Sample


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scenery(seed: int) -> torch.Tensor:
    """A picture that is full of coloured detail up to its borders."""
    detail = sum(
        F.interpolate(torch.rand(1, 3, n, n, generator=generator(seed)), (64, 64), mode="bicubic") for n in (3, 9, 33)
    )
    return ((detail[0] - detail.min()) / (detail.max() - detail.min())).clamp(0, 1)


def test_the_distance_is_that_of_mahalanobis():
    spread = torch.tensor([1.0, 3.0, 0.2])
    x = torch.randn(20000, 3, generator=generator()) * spread + 5
    found = Familiarity.fit(x, x[:500])
    away = found.distance(5 + 2 * spread.diag())
    assert torch.allclose(away, torch.tensor([2.0, 2.0, 2.0]), rtol=0.4), "two standard deviations along each axis"
    assert found.most == pytest.approx(float(found.distance(x[:500]).max()))
    assert (found.distance(5 + 40 * spread.diag()) > found.most).all()


def test_latents_at_the_border_leave_out_the_middle():
    latents = torch.rand(2, 4, 5, 6, generator=generator())
    other = latents.clone()
    other[:, :, 1:-1, 1:-1] = 9.0
    assert torch.equal(at_border(latents), at_border(other)) and at_border(latents).shape == (2, 4)


def test_it_is_saved_with_its_tokenizer_and_belongs_to_no_other(system, tmp_path):
    tokenizer = system.tokenizers.by_name["image"]
    save_familiarity(tokenizer, tmp_path, "image")
    back = load_familiarity(tokenizer, tmp_path, "image")
    assert torch.equal(back.precision, tokenizer.familiarity.precision) and back.most == tokenizer.familiarity.most
    assert load_familiarity(tokenizer, tmp_path, "other") is None


def test_damaged_files_are_refused():
    right = Familiarity.fit(torch.randn(50, 3, generator=generator()), torch.zeros(2, 3)).tensors()
    for name, damaged in (("mean", torch.zeros(2)), ("most", torch.tensor([float("nan")])), ("mean", torch.zeros(0))):
        with pytest.raises(ValueError, match="distribution of latents"):
            Familiarity.from_tensors(right | {name: damaged})
    with pytest.raises(ValueError, match="distribution of latents"):
        Familiarity.from_tensors({})


def test_the_shipped_model_knows_its_own_pictures_and_warns_of_others(system):
    records = open_dataset("emoji").select(split="val", slots=("image",))[::7]
    known = [record.load("image") for record in records]
    assert system.warnings({"image": known}) == ()
    strange = [Sample("image", scenery(seed)) for seed in range(8)]
    [line] = system.warnings({"image": [*known, *strange]})
    assert line.endswith("pictures are unlike those that this model was trained on, so the answer is a guess")
    assert int(line.split(" of ")[0]) >= 7
    assert system.warnings({"image@16": strange[0]}) == (), "small views are another matter"


def test_describe_and_encode_say_so(cli):
    pixels = (scenery(0) * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save("strange.png")
    assert "unlike those that this model was trained on" in cli("describe", "strange.png")[2]
    assert "so much of it may be lost" in cli("encode", "strange.png", "--model", "emoji", "-o", "a.vqf")[2]


def test_the_shipped_model_knows_its_own_sounds_and_warns_of_others(system):
    records = open_dataset("emoji").select(split="val", slots=("audio",))[::40]
    known = [record.load("audio") for record in records]
    quiet = [replace(one, data=0.05 * one.data) for one in known]
    assert system.warnings({"audio": known}) == system.warnings({"audio": quiet}) == ()
    t = torch.arange(24000) / 16000
    strange = {
        "noise": 0.05 * torch.randn(24000, generator=generator()),
        "a tone": 0.3 * torch.sin(2 * torch.pi * 440 * t),
        "a chord": 0.1 * sum(torch.sin(2 * torch.pi * hertz * t) for hertz in (220, 277, 330)),
        "silence": torch.zeros(24000),
    }
    for name, sound in strange.items():
        lines = system.warnings({"audio": Sample("audio", sound[None], sample_rate_hz=16000)})
        assert lines == ("the sound is unlike those that this model was trained on, so the answer is a guess",), name


def test_a_band_that_codes_do_not_hold_is_told(cli):
    sound = 0.1 * torch.randn(1, 48000, generator=generator())
    write(Sample("audio", sound, sample_rate_hz=48000), "a.wav")
    assert "up to 8000 Hz; what lies above is left out" in cli("encode", "a.wav", "-o", "a.vqf")[2]
