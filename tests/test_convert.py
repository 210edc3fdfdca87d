"""What people have becomes a Sample: pictures, arrays, tensors, paths; what cannot be one is refused in one line."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import vqfusion
from vqfusion import Sample, as_sample
from vqfusion.data.display import html_of, html_of_distribution
from vqfusion.errors import UserError
from vqfusion.models.sampling import Distribution, Generated
from vqfusion.tasks import Answer

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
PICTURE = torch.from_numpy(PIXELS).permute(2, 0, 1) / 255


@pytest.mark.parametrize(
    "value",
    [
        Image.fromarray(PIXELS),
        Image.fromarray(np.dstack([PIXELS, np.full((5, 7), 255, np.uint8)])),
        PIXELS,
        PIXELS.astype(np.float64) / 255,
        PIXELS.transpose(2, 0, 1),
        PIXELS.astype(np.uint16) * 257,
        PIXELS.astype(np.dtype(">u2")) * 257,
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        PICTURE,
        Sample("image", PICTURE),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_picture_is_a_picture_whatever_holds_it(value):
    made = as_sample(value)
    assert made.modality == "image" and made.data.is_floating_point()
    torch.testing.assert_close(made.data.float(), PICTURE)


def test_paths_are_read_and_samples_saved(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    for made in (vqfusion.read(tmp_path / "a.png"), as_sample(tmp_path / "a.png"), as_sample(str(tmp_path / "a.png"))):
        torch.testing.assert_close(made.data, PICTURE)
    made.save(tmp_path / "b.png")
    assert torch.equal(vqfusion.read(tmp_path / "b.png").data, made.data)
    with pytest.raises(UserError, match="exists"):
        made.save(tmp_path / "b.png")


def test_grey_transparent_and_deep_pictures():
    grey = as_sample(Image.fromarray(PIXELS[..., 0]))
    torch.testing.assert_close(grey.data, PICTURE[:1])
    assert as_sample(PIXELS[..., 0]).data.shape == (1, 5, 7)
    clear = np.dstack([PIXELS, np.zeros((5, 7), np.uint8)])
    for value in (clear, Image.fromarray(clear)):
        assert bool((as_sample(value).data == 1).all()), "what is transparent is white"
    deep = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    torch.testing.assert_close(as_sample(deep).data, PICTURE[:1])


def test_sounds_volumes_series_and_words():
    ints = np.array([0, 16384, -32768], np.int16)
    sound = as_sample(ints, "audio", sample_rate_hz=8000)
    assert sound.data.tolist() == [[0.0, 0.5, -1.0]] and sound.sample_rate_hz == 8000
    assert as_sample(np.array([128, 255, 0], np.uint8), "audio").data[0, 0] == 0
    assert as_sample(np.zeros((3, 4, 5), np.int16), "volume").data.shape == (1, 3, 4, 5)
    assert as_sample(np.zeros(4), "series").data.shape == (1, 4)
    assert as_sample("red apple", "text") == Sample("text", "red apple")
    assert as_sample("clara", "label").data == "clara"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: as_sample(np.zeros((3, 9, 3))), r"may be \[C, H, W\] or \[H, W, C\]"),
        (lambda: as_sample(np.zeros(16)), "as_sample.data, 'audio'"),
        (lambda: as_sample(3), "an int: give a path"),
        (lambda: as_sample(PIXELS.astype(float)), "reach 248: divide by 255"),
        (lambda: Sample("image", PIXELS), "not numpy.ndarray: vqfusion.as_sample"),
        (lambda: Sample("image", PICTURE[None]), r"not \[1, 3, 5, 7\], a batch is a list of samples"),
        (lambda: Sample("image", PICTURE.permute(1, 2, 0)), "colours come first"),
        (lambda: Sample("image", (PICTURE * 255).byte()), "not torch.uint8"),
        (lambda: Sample("image", PICTURE / 0), "NaN or infinity"),
        (lambda: Sample("audio", torch.zeros(9)), r"a sound: data are \[C, T\], not \[9\]"),
        (lambda: Sample("audio", torch.full((1, 4), torch.nan)), "NaN"),
        (lambda: Sample("volume", torch.zeros(4, 4, 4)), "a volume: data are"),
        (lambda: Sample("text", 3), "a text: data are a str, not int"),
    ],
)
def test_what_is_no_sample_is_one_line(make, words):
    with pytest.raises(UserError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


def test_gaps_of_volumes_and_series_are_no_mistake():
    assert Sample("series", torch.full((1, 4), torch.nan)).data.isnan().all()
    assert Sample("volume", torch.zeros(1, 2, 2, 2, dtype=torch.int16)).data.dtype == torch.int16
    beyond = PICTURE + 2 * torch.randn(PICTURE.shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Sample("image", beyond).data, beyond)


def test_notebooks_show_samples():
    assert Sample("image", PICTURE)._repr_png_().startswith(b"\x89PNG")
    assert "<img" in Sample("image", PICTURE)._repr_html_()
    assert "<audio controls" in html_of(Sample("audio", torch.zeros(1, 80), sample_rate_hz=8000))
    assert html_of(Sample("volume", torch.rand(1, 4, 5, 6))).count("<img") == 3
    series = Sample("series", torch.tensor([[0.0, torch.nan, 2.0]]), channel_names=("<b>",))
    assert "&lt;b&gt;" in html_of(series) and "<polyline" in html_of(series)
    assert html_of(Sample("text", "<script>")) == "<pre>&lt;script&gt;</pre>"
    assert Sample("text", "a")._repr_png_() is None
    assert html_of_distribution({"cat": 0.75, "<dog>": 0.25}).count("<tr>") == 2


def test_results_are_shown_as_what_they_hold():
    picture, word = Sample("image", PICTURE), Sample("text", "<b>")
    assert repr(picture) == f"Sample('image', {list(PICTURE.shape)} torch.float32)"
    assert repr(Sample("audio", torch.zeros(1, 80), sample_rate_hz=8000)).endswith("sample_rate_hz=8000)")
    made = Generated("image", [[picture, picture], [picture]], nfe=4, seconds=0.1)
    assert made._repr_html_().count("<img") == 3 and repr(picture) in repr(made)
    names = Distribution({"cat": 0.75} | {f"name {i}": 0.25 / 9 for i in range(9)})
    assert repr(names).startswith("{'cat': 0.75, ") and repr(names).endswith(", and 5 others}")
    assert names._repr_html_().count("<tr>") == 9 and json.loads(json.dumps(names)) == dict(names)
    answer = Answer("describe", "text:en", samples=[[word]], warnings=("a <line>",))
    assert answer._repr_html_().count("<pre>") == 2 and "<line>" not in answer._repr_html_()
    assert "<table>" in Answer("classify", "label", distributions=[names])._repr_html_()


def test_a_vqvae_of_plain_arguments():
    from vqfusion.config import VQVAEConfig

    made = vqfusion.VQVAE(channels=1, codebook_size=16, dim=4)
    assert made.config == VQVAEConfig(channels=1, codebook_size=16, dim=4)
    with pytest.raises(UserError, match="codebook_sise"):
        vqfusion.VQVAE(codebook_sise=16)
    with pytest.raises(UserError, match="not both"):
        vqfusion.VQVAE(VQVAEConfig(), dim=4)
