"""Colour TIFF and other formats of pictures: the same picture in each, written back in its own."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from vqfusion.data.io import modality_of_bytes, modality_of_suffix, read, write
from vqfusion.data.io.depth import bits_of
from vqfusion.data.io.picture_formats import WRITTEN
from vqfusion.data.io.plane import is_plane
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8)
DEEP = PIXELS.astype(np.uint16) * 255 + 99
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pillow(form: str, **how) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form, **how)
    return buffer.getvalue()


def tiff(array: np.ndarray, **how) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **how)
    return buffer.getvalue()


SAME = {
    "png": lambda: pillow("PNG"),
    "bmp": lambda: pillow("BMP"),
    "ppm": lambda: pillow("PPM"),
    "jp2": lambda: pillow("JPEG2000"),
    "webp": lambda: pillow("WEBP", lossless=True),
    "lzw.tif": lambda: pillow("TIFF", compression="tiff_lzw"),
    "plain.tif": lambda: tiff(PIXELS, photometric="rgb"),
    "motorola.tif": lambda: tiff(PIXELS, photometric="rgb", byteorder=">"),
    "big.tif": lambda: tiff(PIXELS, photometric="rgb", bigtiff=True),
    "planes.tif": lambda: tiff(PIXELS.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"),
    "zip.tif": lambda: tiff(PIXELS, photometric="rgb", compression="zlib", tile=(16, 16)),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_picture_in_every_format(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    path.write_bytes(SAME[kind]())
    assert modality_of_bytes(path.read_bytes()) == modality_of_suffix(path) == "image"
    assert torch.equal(read(path).data, torch.from_numpy(PIXELS).permute(2, 0, 1) / 255)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_16_bits_of_a_tiff_are_kept(byteorder, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(DEEP, photometric="rgb", byteorder=byteorder))
    sample = read(path, keep=True)
    torch.testing.assert_close(sample.data, torch.from_numpy(DEEP.astype(np.float32) / 65535).permute(2, 0, 1))
    assert write(sample, tmp_path / "b.tif") == ()
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), DEEP)
    assert write(sample, tmp_path / "b.bmp") == ("this format holds no 16 bits; .png does",)


@pytest.mark.parametrize("suffix", MODALITIES["image"].written)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_back(suffix, channels, tmp_path):
    smooth = torch.nn.functional.interpolate(torch.rand(1, channels, 4, 5), (40, 50), mode="bicubic").clamp(0, 1)[0]
    write(Sample("image", smooth), tmp_path / f"a{suffix}")
    back = read(tmp_path / f"a{suffix}", "image").data
    lossy = WRITTEN[suffix].name in ("JPEG", "AVIF")
    assert back.shape == smooth.shape or WRITTEN[suffix].name in ("AVIF", "WEBP")  # always in colour
    assert float((back - smooth).abs().mean()) < (0.02 if lossy else 0.002)
    if not lossy:
        back = back[:channels]
        torch.testing.assert_close(back, smooth, atol=0.5 / 255 + 1e-6, rtol=0)


@pytest.mark.parametrize("suffix", [end for end, form in WRITTEN.items() if "transparency" in form.holds])
def test_transparency_is_written_where_the_format_holds_it(suffix, tmp_path):
    layers = np.concatenate([PIXELS, np.full((20, 28, 1), 200, np.uint8)], -1)
    Image.fromarray(layers).save(tmp_path / "a.png")
    write(read(tmp_path / "a.png", keep=True), tmp_path / f"b{suffix}")
    alpha = read(tmp_path / f"b{suffix}", "image", keep=True).extras.alpha
    torch.testing.assert_close(alpha, torch.full((1, 20, 28), 200 / 255), atol=2 / 255, rtol=0)


def test_alpha_that_the_colours_were_multiplied_by_is_divided_out(tmp_path):
    alpha = np.full((20, 28, 1), 32768, np.uint16)
    multiplied = (DEEP.astype(float) * 32768 / 65535).round().astype(np.uint16)
    for kind, colours in (("unassalpha", DEEP), ("assocalpha", multiplied)):
        path = tmp_path / f"{kind}.tif"
        path.write_bytes(tiff(np.concatenate([colours, alpha], -1), photometric="rgb", extrasamples=[kind]))
        sample = read(path, keep=True)
        expected = torch.from_numpy(DEEP.astype(np.float32) / 65535).permute(2, 0, 1)
        torch.testing.assert_close(sample.data, expected, atol=2e-5, rtol=0)
        assert float(sample.extras.alpha.mean()) == pytest.approx(32768 / 65535)


def test_tags_profile_and_resolution_come_back(tmp_path):
    told = {"software": "scanner 3", "datetime": "2020:01:02 03:04:05", "description": "a page"}
    extra = [(315, "s", 0, "somebody", True)]
    path = tmp_path / "a.tif"
    path.write_bytes(
        tiff(
            PIXELS, photometric="rgb", iccprofile=ICC, resolution=(300, 300), resolutionunit=2, extratags=extra, **told
        )
    )
    sample = read(path, keep=True)
    write(sample, tmp_path / "b.tif")
    for name in ("a", "b"):
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as file:
            tags = file.pages.first.tags
            found = [tags.valueof(key) for key in ("Software", "DateTime", "ImageDescription", "Artist", "XResolution")]
            assert found == [*told.values(), "somebody", (300, 1)]
            assert tags.valueof("InterColorProfile") == ICC
    assert write(sample, tmp_path / "b.png") == ("this format holds no TIFF tags",)


def test_a_turned_tiff_is_turned_once(tmp_path):
    turned = PIXELS.transpose(1, 0, 2)[:, ::-1]  # orientation 6: shown turned by 90 degrees clockwise
    for kind, pixels in (("8", PIXELS), ("16", DEEP)):
        path = tmp_path / f"{kind}.tif"
        path.write_bytes(tiff(pixels, photometric="rgb", extratags=[(274, "H", 1, 6, True)]))
        sample = read(path, keep=True)
        assert sample.data.shape == (3, 28, 20)
        write(sample, tmp_path / "b.tif", force=True)
        assert torch.equal(read(tmp_path / "b.tif").data, sample.data)
        if kind == "8":
            assert torch.equal(sample.data, torch.from_numpy(turned.copy()).permute(2, 0, 1) / 255)


def test_which_tiff_files_are_pictures(tmp_path):
    with tifffile.TiffWriter(tmp_path / "thumb.tif") as file:
        file.write(PIXELS, photometric="rgb")
        file.write(PIXELS[::2, ::2], photometric="rgb", subfiletype=1)
    with tifffile.TiffWriter(tmp_path / "pages.tif") as file:
        for _ in range(2):
            file.write(PIXELS, photometric="rgb", metadata=None)
    tifffile.imwrite(tmp_path / "grey.tif", PIXELS[..., 0])
    tifffile.imwrite(tmp_path / "lut.tif", PIXELS[..., 0], imagej=True, colormap=np.zeros((3, 256), np.uint16))
    Image.fromarray(PIXELS).quantize(16).save(tmp_path / "palette.tif")
    kinds = {path.stem: modality_of_suffix(path) for path in tmp_path.iterdir()}
    assert kinds == {"thumb": "image", "pages": "volume", "grey": "volume", "lut": "volume", "palette": "image"}
    assert torch.equal(read(tmp_path / "thumb.tif").data, torch.from_numpy(PIXELS).permute(2, 0, 1) / 255)
    with pytest.raises(UserError, match="stack in colour"):
        read(tmp_path / "pages.tif")
    assert read(tmp_path / "palette.tif").data.shape == (3, 20, 28)


def test_other_colour_spaces_are_converted_with_a_line(tmp_path):
    picture = Image.fromarray(PIXELS)
    picture.convert("CMYK").save(tmp_path / "a.tif")
    ImageCms.profileToProfile(
        picture, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    ).save(tmp_path / "b.tif")
    for name, space in (("a", "CMYK"), ("b", "LAB")):
        sample = read(tmp_path / f"{name}.tif")
        assert sample.notes == (f"its {space} colours were converted to RGB",)
    tifffile.imwrite(tmp_path / "c.tif", PIXELS.astype(np.float32), photometric="rgb")
    with pytest.raises(UserError, match="save it as RGB with 8 or 16 bits"):
        read(tmp_path / "c.tif")


def test_numbers_of_any_range_are_no_picture(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[..., 0].astype(np.float32))
    with pytest.raises(UserError, match="numbers in an unknown range"):
        read(tmp_path / "a.tif", "image")
    tifffile.imwrite(tmp_path / "b.tif", DEEP[..., 0])
    torch.testing.assert_close(
        read(tmp_path / "b.tif", "image").data, torch.from_numpy(DEEP[..., 0].astype(np.float32) / 65535)[None]
    )


def test_one_plane_is_restored_and_enlarged_as_a_picture(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(3000, 400, (40, 48)).clip(0).astype(np.uint16)
    tifffile.imwrite("one.tif", values, imagej=True, resolution=(2, 2), metadata={"axes": "YX", "unit": "um"})
    tifffile.imwrite("stack.tif", np.stack([values] * 3), imagej=True, metadata={"axes": "ZYX"})
    assert is_plane("one.tif") and not is_plane("stack.tif")
    code, _, err = cli("denoise", "one.tif", "-o", "clean.tif")
    assert code == 0 and "prior of image" in err
    clean = tifffile.imread("clean.tif")
    assert clean.shape == values.shape and clean.dtype == values.dtype and clean.std() < values.std() / 3
    assert cli("upscale", "one.tif", "-o", "large.tif")[0] == 0
    with tifffile.TiffFile("large.tif") as file:
        assert file.pages.first.shape == (80, 96)
        assert file.pages.first.tags.valueof("XResolution") == (4, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("text", [False, True])
def test_16_bits_of_pgm_and_ppm_are_kept(channels, text, tmp_path):
    values = DEEP[..., :channels] % 65000
    kind = {(1, False): "P5", (3, False): "P6", (1, True): "P2", (3, True): "P3"}[channels, text]
    body = " ".join(map(str, values.reshape(-1))).encode() if text else values.astype(">u2").tobytes()
    whole = f"{kind}\n# by hand\n28 20\n65000\n".encode() + body
    (tmp_path / "a.ppm").write_bytes(whole)
    assert modality_of_bytes(whole) == "image"
    sample = read(tmp_path / "a.ppm", keep=True)
    wanted = values.astype(np.float64) / 65000
    np.testing.assert_allclose(sample.data.permute(1, 2, 0).numpy(), wanted, atol=1e-7)
    assert write(sample, tmp_path / "b.ppm") == () and write(sample, tmp_path / "b.png") == ()
    for back in ("b.ppm", "b.png"):
        made = read(tmp_path / back, keep=True)
        assert made.extras.bits == 16
        np.testing.assert_allclose(made.data.permute(1, 2, 0).numpy(), wanted, atol=0.51 / 65535)
    (tmp_path / "c.ppm").write_bytes(whole[:-9])
    with pytest.raises(UserError, match="cut-off picture"):
        read(tmp_path / "c.ppm")


def test_more_bits_than_are_read_are_told(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG2000")
    whole = buffer.getvalue()
    place = whole.index(b"\xff\x4f\xff\x51") + 42
    deep = whole[:place] + bytes([11]) + whole[place + 1 :]  # 12 bits, of the first channel
    assert bits_of(whole) == 8 and bits_of(deep) == 12
    avif = pillow("AVIF")
    assert bits_of(avif) == bits_of(pillow("PNG")) == 8
    assert bits_of(avif.replace(b"pixi\0\0\0\0\x03\x08", b"pixi\0\0\0\0\x03\x0c")) == 12
    for component in (42, 45, 48):
        whole = whole[: place - 42 + component] + bytes([11]) + whole[place - 41 + component :]
    (tmp_path / "a.jp2").write_bytes(whole)
    assert read(tmp_path / "a.jp2").notes == ("holds 12 bits per channel, of which 8 are read; .png and .tif keep 16",)


def moving(form: str, **how) -> bytes:
    """Three frames of different colours and transparency, shown for 40, 80 and 120 ms."""
    frames = [Image.fromarray(np.roll(PIXELS, 3 * k, 1)) for k in range(3)]
    for k, frame in enumerate(frames):
        frame.putalpha(Image.fromarray(np.where(np.arange(28) < 5 * k, 0, 255).astype(np.uint8)[None].repeat(20, 0)))
    buffer = io.BytesIO()
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:], duration=[40, 80, 120], loop=0, **how)
    return buffer.getvalue()


def shown(sample: Sample) -> torch.Tensor:
    """Colours on black, and the opacity."""
    alpha = torch.ones(1, *sample.data.shape[1:]) if sample.extras.alpha is None else sample.extras.alpha
    return torch.cat([sample.data * alpha, alpha])


@pytest.mark.parametrize(("form", "how"), [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_all_frames_are_kept_with_their_durations(form, how, tmp_path):
    (tmp_path / "a").write_bytes(moving(form, **how))
    assert read(tmp_path / "a", "image").notes == ("holds 3 frames: the first is taken, the others are left out",)
    sample = read(tmp_path / "a", "image", keep=True)
    animation = sample.extras.animation
    assert sample.notes == () and animation.durations_ms == (40, 80, 120) and animation.loop == 0
    frames = (sample, *animation.frames)
    wanted = [np.roll(PIXELS, 3 * k, 1) for k in range(3)]
    if form != "GIF":  # 256 colours
        for k, (frame, pixels) in enumerate(zip(frames, wanted, strict=True)):
            assert np.array_equal((frame.data * 255).round().permute(1, 2, 0).numpy()[:, 5 * k :], pixels[:, 5 * k :])
    for name in ("b.png", "b.webp"):
        assert write(sample, tmp_path / name) == ()
        back = read(tmp_path / name, keep=True)
        assert back.extras.animation.durations_ms == (40, 80, 120) and back.extras.animation.loop == 0
        for old, new in zip(frames, (back, *back.extras.animation.frames), strict=True):
            torch.testing.assert_close(shown(new), shown(old), atol=0.51 / 255, rtol=0)
    assert "further frames" in write(sample, tmp_path / "b.jpg")[0]


def test_each_frame_is_restored_by_itself(cli):
    """The frames of an animation are what they would be as pictures of their own."""
    Path("a.png").write_bytes(moving("PNG"))
    sample = read("a.png", keep=True)
    for k, frame in enumerate((replace(sample, extras=replace(sample.extras, animation=None)),
                               *sample.extras.animation.frames)):  # fmt: skip
        write(frame, f"{k}.png")
        assert cli("denoise", f"{k}.png", "--sigma", "20/255", "-o", f"one{k}.png")[0] == 0
    code, _, err = cli("denoise", "a.png", "--sigma", "20/255", "-o", "b.png")
    assert code == 0 and "frames" not in err
    whole = read("b.png", keep=True)
    for k, frame in enumerate((whole, *whole.extras.animation.frames)):
        alone = read(f"one{k}.png", keep=True)
        torch.testing.assert_close(shown(frame), shown(alone), atol=1.01 / 255, rtol=0)
    assert cli("upscale", "a.png", "-o", "c.webp")[0] == 0
    large = read("c.webp", keep=True)
    assert large.data.shape == (3, 40, 56) and len(large.extras.animation.frames) == 2
    code, _, err = cli("encode", "a.png", "-o", "a.vqf")
    assert code == 0 and "further frames" in err
