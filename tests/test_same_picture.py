"""The same picture in another file gives the same answer, and nothing in a file is dropped without a word."""

import struct
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, PngImagePlugin

from vqfusion.config import PriorConfig
from vqfusion.data.io.picture import Extras, read_picture, write_picture
from vqfusion.data.io.png import encode_png16, noted
from vqfusion.models.restoration.fitted import FittedSample
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.transparency import Backdrop
from vqfusion.models.sampling import Sampling
from vqfusion.tasks import TASKS
from vqfusion.types import Sample

Y, X = np.mgrid[:48, :48]
ALPHA = np.clip(16.5 - np.hypot(X - 23.5, Y - 23.5), 0, 1).astype(np.float32)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def prior() -> Prior:
    """An untrained prior that changes what it is given."""
    torch.manual_seed(0)
    made = Prior(PriorConfig(modality="image", channels=3, widths=(4, 6), depths=(1, 1))).eval().requires_grad_(False)
    for parameter in made.parameters():
        if not parameter.abs().max():
            torch.nn.init.normal_(parameter, std=0.02)
    return made


def disc(hidden=0.0) -> Sample:
    """A noisy disc on nothing; the colours under full transparency are `hidden`."""
    noise = np.random.default_rng(0).normal(0, 0.05, (3, 48, 48))
    colours = np.array([0.8, 0.3, 0.2])[:, None, None] + noise
    colours = np.where(ALPHA > 0, colours, hidden)
    return Sample("image", torch.from_numpy(colours).float(), extras=Extras(alpha=torch.from_numpy(ALPHA)[None]))


def asked(prior: Prior, task: str, sample: Sample, **options) -> Sample:
    return TASKS[task](**options)(prior, sample, Sampling(steps=2)).samples[0][0]


def visible(sample: Sample) -> torch.Tensor:
    return sample.data.clamp(0, 1) * sample.extras.alpha + 1 - sample.extras.alpha


@pytest.mark.parametrize(
    "task, options",
    [("denoise", {"sigma": "0.05"}), ("denoise", {}), ("upscale", {"scale": 2}), ("upscale", {"scale": 3})],
)
def test_colours_that_nobody_sees_change_nothing(prior, task, options):
    plain = asked(prior, task, disc(), **options)
    for hidden in (1.0, np.random.default_rng(1).random((3, 48, 48))):
        torch.testing.assert_close(visible(asked(prior, task, disc(hidden), **options)), visible(plain))


def test_a_disc_of_one_colour_stays_of_one_colour_at_its_edge(prior):
    colours = torch.tensor([0.8, 0.3, 0.2])[:, None, None].expand(3, 48, 48)
    alpha = torch.from_numpy(ALPHA)[None]
    shown = Backdrop.of(torch.where(alpha > 0, colours, 0), alpha)
    torch.testing.assert_close(shown.shown, colours, atol=1e-4, rtol=0)
    torch.testing.assert_close(shown.removed(shown.shown, alpha)[:, ALPHA > 0], colours[:, ALPHA > 0])


def test_what_is_half_seen_keeps_its_detail_and_what_is_not_seen_its_colours():
    generator = torch.Generator().manual_seed(0)
    colours = torch.rand(3, 9, 14, generator=generator)
    torch.testing.assert_close(Backdrop.of(colours, torch.full((1, 9, 14), 0.5)).shown, colours)
    alpha = torch.rand(1, 9, 14, generator=generator) * (torch.rand(1, 9, 14, generator=generator) > 0.3)
    whole = Backdrop.of(colours, alpha)
    torch.testing.assert_close(whole.removed(whole.shown, alpha), colours, atol=1e-5, rtol=0)
    small = 0.1 * torch.ones_like(colours)
    change = (whole.removed(whole.shown + small, alpha) - colours) * alpha.clamp(max=0.25) * 4
    torch.testing.assert_close(change, small * (alpha > 0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("task, options", [("denoise", {}), ("denoise", {"sigma": "0.1"}), ("upscale", {})])
def test_a_picture_that_is_transparent_everywhere(prior, task, options):
    sample = disc(0.4)
    empty = Sample("image", sample.data, extras=Extras(alpha=torch.zeros(1, 48, 48)))
    made = asked(prior, task, empty, **options)
    assert torch.isfinite(made.data).all() and not made.extras.alpha.any()
    assert task == "upscale" or torch.equal(made.data, sample.data)


def test_noise_is_judged_where_a_picture_is_seen(prior):
    noise = 0.05 * torch.randn(3, 160, 160, generator=torch.Generator().manual_seed(0))
    alpha = torch.zeros(1, 160, 160)
    alpha[:, 20:120, 30:140] = 1
    sample = Sample("image", 0.5 + noise * alpha, extras=Extras(alpha=alpha))
    [finding] = TASKS["denoise"]()(prior, sample, Sampling()).findings
    assert finding.sigma == pytest.approx(0.05, rel=0.1)
    assert FittedSample.of(sample, prior).backdrop.visible_square(sample.data).shape == (3, 100, 100)


@pytest.mark.parametrize("task, options", [("denoise", {}), ("denoise", {"sigma": "0.1"}), ("upscale", {})])
def test_grey_in_three_channels_is_grey(prior, task, options):
    grey = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
    one = asked(prior, task, Sample("image", grey), **options)
    three = asked(prior, task, Sample("image", grey.expand(3, -1, -1)), **options)
    assert one.data.shape[0] == 1 and torch.equal(three.data, one.data.expand(3, -1, -1))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_frames_are_not_dropped_without_a_word(form):
    frames = [Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)) for i in range(3)]
    buffer = BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], lossless=True)
    sample = read_picture(buffer.getvalue())
    assert sample.data.max() == 0 and "3 frames" in sample.notes[0]


def test_cmyk_is_read_with_a_word():
    buffer = BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(buffer, "JPEG")
    sample = read_picture(buffer.getvalue())
    assert sample.notes == ("its CMYK colours were converted to RGB",) and sample.data[0].min() > 0.9


def test_encoding_says_what_codes_do_not_hold(cli):
    picture = Image.new("RGBA", (16, 16), (200, 30, 30, 120))
    picture.save("a.png", icc_profile=ICC)
    code, _, err = cli("encode", "a.png", "-o", "a.vqf")
    assert code == 0 and "transparency" in err and "colour profile" in err
    Image.new("RGB", (16, 16)).save("b.png")
    _, _, err = cli("encode", "b.png", "-o", "b.vqf")
    assert "transparency" not in err and "profile" not in err


GAMMA = (b"gAMA", struct.pack(">I", 100000))
PRIMARIES = (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
TITLE = (b"tEXt", b"Title\0hello")


def picture_with(chunks, depth: int) -> bytes:
    if depth == 16:
        return encode_png16(np.full((6, 7, 3), 40000, np.uint16), more=chunks)
    info = PngImagePlugin.PngInfo()
    for kind, content in chunks:
        info.add(kind, content)
    buffer = BytesIO()
    Image.new("RGB", (7, 6), (200, 30, 90)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


@pytest.mark.parametrize("depth", [8, 16])
def test_gamma_primaries_and_texts_of_a_png_stay(tmp_path, depth):
    sample = read_picture(picture_with((GAMMA, PRIMARIES, TITLE), depth), keep=True)
    assert write_picture(sample, tmp_path / "b.png") == ()
    again = read_picture(tmp_path / "b.png", keep=True)
    assert again.extras.chunks == (GAMMA, PRIMARIES, TITLE) and torch.equal(again.data, sample.data)
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.info["gamma"] == 1.0 and picture.info["Title"] == "hello"
    (line,) = write_picture(sample, tmp_path / "b.jpg")
    gone = "gamma or colour space, texts and 16 bits" if depth == 16 else "gamma or colour space and texts"
    assert line == f"this format holds no {gone}; .png does"


def test_comments_and_xmp_of_a_jpeg_stay(tmp_path):
    for xmp, stays in ((b"<x:xmpmeta>me</x:xmpmeta>", True), (b"<x tiff:Orientation='6'/>", False)):
        buffer = BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "JPEG", comment=b"by hand", xmp=xmp)
        sample = read_picture(buffer.getvalue(), keep=True)
        for suffix in (".jpg", ".png"):
            assert write_picture(sample, tmp_path / f"b{suffix}", force=True) == ()
            with Image.open(tmp_path / f"b{suffix}") as picture:
                told = picture.info.get("comment") or picture.info["Comment"].encode()
                assert told == b"by hand" and picture.info.get("xmp") == (xmp if stays else None)


def test_chunks_that_are_too_short_are_not_kept():
    for content in (b"", b"\0"):
        assert noted(picture_with((TITLE,), 8) + chunk_of(b"gAMA", content)) == (TITLE,)


def chunk_of(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + b"\0\0\0\0"
