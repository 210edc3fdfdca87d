"""Restoration by a prior from the command: any size, what files hold beside their values, gaps, error bars, reports."""

import json
import math
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import soundfile
import torch
from PIL import ExifTags, Image, ImageCms
from rounding import NETWORK

from vqfusion.config import PriorConfig
from vqfusion.data.io import read, write
from vqfusion.data.io.picture import Extras
from vqfusion.diffusion.operators import Denoise, Mask
from vqfusion.hub import find_model
from vqfusion.models.kinds import kind_of
from vqfusion.models.restoration import any_size
from vqfusion.models.restoration.any_size import AnySizePrior, bfloat16_pays
from vqfusion.models.restoration.autoregressive import fill_gaps
from vqfusion.models.restoration.fitted import FittedSample
from vqfusion.models.restoration.intervals import Calibration
from vqfusion.models.restoration.mirrored import MirroredPrior
from vqfusion.models.restoration.photons import estimate_gain
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.residual_band import FEATURES, ResidualBand
from vqfusion.models.restoration.restoring import restore
from vqfusion.models.restoration.shipped_intervals import ShippedIntervals
from vqfusion.tasks.restoration import prior_for
from vqfusion.types import Sample

KINDS = {
    "photo": {"modality": "image", "channels": 3},
    "grey": {"modality": "image", "channels": 1},
    "volume": {"modality": "volume"},
    "sound": {"modality": "audio", "value_range": (-1.0, 1.0), "sample_rate_hz": 16000},
}
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def tiny(kind: str) -> Prior:
    """An untrained prior that changes what it is given."""
    torch.manual_seed(0)
    prior = Prior(PriorConfig(widths=(4, 6), depths=(1, 1), **KINDS[kind])).eval().requires_grad_(False)
    for parameter in prior.parameters():
        if not parameter.abs().max():
            torch.nn.init.normal_(parameter, std=0.02)
    return prior


@pytest.fixture(scope="session")
def priors(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("priors")
    for kind in KINDS:
        tiny(kind).save_pretrained(folder / kind)
    return {kind: str(folder / kind) for kind in KINDS}


def photo(path: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **more) -> str:
    channels = len(mode)
    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], channels), np.uint8)
    Path(path).parent.mkdir(exist_ok=True)
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode=None).save(path, **more)
    return path


def notes() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "Maker"
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    inner[ExifTags.Base.ExifImageWidth], inner[ExifTags.Base.ExifImageHeight] = 40, 30
    exif.get_ifd(ExifTags.IFD.GPSInfo)[1] = "N"
    return exif


def series(path: str, gap: str) -> str:
    rows = [
        f"{i / 50:.2f},{np.sin(i / 9):.5f},{gap if 40 <= i < 50 else f'{5 + np.cos(i / 7):.5f}'}" for i in range(200)
    ]
    Path(path).write_text("\n".join(["time_s,left,right", *rows]) + "\n")
    return path


def volume(path: str, fill: float | None = None) -> np.ndarray:
    voxels = np.random.default_rng(2).normal(100, 20, (12, 10, 8)).astype(np.float32)
    if fill is not None:
        voxels[4:6, 4:6, 4:6] = fill
    affine = np.array([[0, -2, 0, 10], [1.5, 0, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]], float)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return affine


@pytest.mark.parametrize("kind, channels", [("photo", 3), ("photo", 1), ("grey", 1), ("grey", 3)])
def test_tiles_give_what_the_whole_gives(kind, channels):
    prior = tiny(kind)
    x = torch.rand(2, channels, 141, 170)
    sigma = torch.tensor([0.1, 0.3])
    whole = AnySizePrior(prior, channels).denoise(x, sigma)
    tiled = AnySizePrior(prior, channels, most=105 * 105).denoise(x, sigma)
    assert prior.receptive_radius < 40 and (whole - x).abs().max() > 0.01
    torch.testing.assert_close(tiled, whole, atol=NETWORK, rtol=0)
    if (kind, channels) == ("grey", 3):
        alone = prior.denoise(x[1:, 2:], 0.3)
        torch.testing.assert_close(whole[1:, 2:], alone, atol=NETWORK, rtol=0)


def test_large_pictures_have_no_seams_in_bfloat16_either(monkeypatch):
    prior = tiny("photo")
    assert bfloat16_pays(prior) in (True, False)
    monkeypatch.setattr(any_size, "bfloat16_pays", lambda prior: True)
    x = torch.rand(1, 3, 141, 170)
    tiled = AnySizePrior(prior, most=105 * 105, fast_from=0).denoise(x, 0.2)
    assert (tiled - prior.denoise(x, 0.2)).abs().max() < 1 / 255


def test_tiles_of_a_volume_and_of_a_sound_too():
    for kind, size in (("volume", (20, 33, 26)), ("sound", (3001,))):
        prior = tiny(kind)
        x = torch.rand(1, 1, *size)
        tiled = AnySizePrior(prior, 1, most=4000 if kind == "volume" else 500).denoise(x, 0.2)
        torch.testing.assert_close(tiled, prior.denoise(x, 0.2), atol=NETWORK, rtol=0)


def test_grey_reaches_a_prior_of_colour_as_the_noise_that_it_knows():
    seen = {}

    class Watched(Prior):
        def denoise(self, x, sigma=None):
            seen.update(x=x, sigma=sigma)
            return x

    grey = 0.1 * torch.randn(2, 1, 200, 200, generator=torch.Generator().manual_seed(3))
    wide = AnySizePrior(Watched(tiny("photo").config), 1)
    torch.testing.assert_close(wide.denoise(grey, torch.tensor([0.1, 0.1])), grey, atol=1e-6, rtol=0)
    expected = 0.1 * 3**0.5
    torch.testing.assert_close(seen["sigma"], torch.full((2,), expected))
    covariance = torch.cov(seen["x"].transpose(0, 1).flatten(1))
    torch.testing.assert_close(covariance, expected**2 * torch.eye(3), atol=5e-4, rtol=0)
    assert wide.sigma_range[1] * 3**0.5 == pytest.approx(wide.prior.sigma_range[1])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_notes_and_colour_profile_survive_and_the_picture_stands_upright(cli, priors, suffix):
    photo("a.jpg", exif=notes(), icc_profile=ICC, dpi=(300, 300))
    code, out, err = cli("denoise", "a.jpg", "--sigma", "25/255", "--model", priors["photo"], "-o", f"b.{suffix}")
    assert (code, out, err) == (0, f"b.{suffix}\n", "")
    with Image.open(f"b.{suffix}") as made:
        exif = made.getexif()
        assert made.size == (30, 40), "turned as the notes said"
        assert exif[ExifTags.Base.Orientation] == 1 and exif[ExifTags.Base.Make] == "Maker"
        assert exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.ExifImageWidth] == 30
        assert exif.get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"
        assert made.info["icc_profile"] == ICC


def test_transparency_is_kept_and_the_colours_are_restored(cli, priors):
    photo("a.png", mode="RGBA")
    assert cli("denoise", "a.png", "--sigma", "0.1", "--model", priors["photo"], "-o", "b.png")[0] == 0
    assert cli("denoise", "a.png", "--sigma", "0.1", "--model", priors["photo"], "-o", "b.jpg")[0] == 0
    before, after = (np.asarray(Image.open(f"{name}.png")) for name in "ab")
    assert (before[..., 3] == after[..., 3]).all() and (before[..., :3] != after[..., :3]).any()
    with Image.open("b.jpg") as made:
        assert made.mode == "RGB", "a JPEG cannot hold transparency"
    code, *_ = cli("upscale", "a.png", "--scale", "2", "--steps", "1", "--model", priors["photo"], "-o", "c.png")
    with Image.open("c.png") as large:
        assert code == 0 and large.mode == "RGBA" and large.size == (80, 60)


@pytest.mark.parametrize("channels, alpha", [(1, False), (1, True), (3, False), (3, True)])
def test_16_bits_stay_16_bits(cli, priors, channels, alpha):
    generator = torch.Generator().manual_seed(0)
    extras = Extras(alpha=torch.rand(1, 9, 14, generator=generator) if alpha else None, bits=16)
    given = Sample("image", torch.rand(channels, 9, 14, generator=generator), extras=extras)
    write(given, "a.png")
    back = read("a.png", "image", keep=True)
    assert back.extras.bits == 16
    torch.testing.assert_close(back.data, given.data, atol=0.6 / 65535, rtol=0)
    if alpha:
        torch.testing.assert_close(back.extras.alpha, extras.alpha, atol=0.6 / 65535, rtol=0)
    assert cli("denoise", "a.png", "--sigma", "0.1", "--model", priors["photo"], "-o", "b.png")[0] == 0
    made = read("b.png", "image", keep=True)
    assert made.extras.bits == 16 and made.data.shape == given.data.shape
    assert (made.data * 65535 % 257).round().abs().max() > 0, "finer than 8 bits"


def test_a_folder_in_one_call_with_everything_in_json(cli, priors):
    photo("in/one.png"), photo("in/two.jpg", mode="L"), photo("in/three.webp", mode="RGBA")
    code, out, err = cli("denoise", "in", "--sigma", "25/255", "--model", priors["photo"], "-o", "out", "--json")
    report = json.loads(out)
    assert code == 0 and err == "" and out.count("\n") == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["one.png", "three.png", "two.png"]
    assert report["inputs"] == ["in/one.png", "in/three.webp", "in/two.jpg"]
    assert report["outputs"] == [["out/one.png"], ["out/three.png"], ["out/two.png"]]
    assert (report["task"], report["mode"], report["nfe"]) == ("denoise", "mean", 3)
    assert report["options"]["sigma"] == "25/255"
    for row in report["items"]:
        assert row["sigma"] == pytest.approx(25 / 255) and row["warnings"] == []
    with Image.open("out/two.png") as made:
        assert made.mode == "L", "grey stays grey"


def test_the_mean_is_the_prior_asked_once(cli, priors):
    photo("a.png", size=(37, 21))
    cli("denoise", "a.png", "--sigma", "25/255", "--model", priors["photo"], "-o", "b.png")
    expected = Prior.from_pretrained(priors["photo"]).denoise(read("a.png").data[None], 25 / 255)[0]
    torch.testing.assert_close(read("b.png").data, expected.clamp(0, 1), atol=0.51 / 255, rtol=0)


def test_self_ensemble_is_the_mean_over_mirrored_copies_in_tiles_too(cli, priors, monkeypatch):
    photo("a.png", size=(38, 22))
    arguments = ("--sigma", "25/255", "--self-ensemble", "--json")
    code, out, _ = cli("denoise", "a.png", *arguments, "--model", priors["photo"], "-o", "b.png")
    assert code == 0 and json.loads(out)["nfe"] == 8 and json.loads(out)["options"]["self_ensemble"]
    noisy, prior = read("a.png").data[None], Prior.from_pretrained(priors["photo"])
    expected = MirroredPrior(prior).denoise(noisy, 25 / 255)
    torch.testing.assert_close(read("b.png").data, expected[0].clamp(0, 1), atol=0.51 / 255, rtol=0)
    assert not torch.allclose(expected, prior.denoise(noisy, 25 / 255), atol=1e-4)
    tiled = MirroredPrior(AnySizePrior(prior, 3, most=256)).denoise(noisy, 25 / 255)
    torch.testing.assert_close(tiled, expected, atol=NETWORK, rtol=0)
    volume("v.nii.gz")
    code, out, _ = cli("denoise", "v.nii.gz", "--self-ensemble", "--model", priors["volume"], "--json")
    assert code == 0 and json.loads(out)["nfe"] == 8
    code, out, err = cli("denoise", "a.png", "--self-ensemble", "--interval", "0.9", "-o", "c.png")
    assert (code, out, err.count("\n")) == (2, "", 1) and "calibrated for the answer without it" in err


def test_samples_and_intervals(cli, priors):
    photo("a.png", size=(24, 20))
    quick = ("--sigma", "0.2", "--steps", "3", "--model", priors["photo"])
    code, out, _ = cli("denoise", "a.png", "--mode", "sample", "--samples", "2", *quick)
    assert (code, out) == (0, "a.denoise-1.png\na.denoise-2.png\n")
    one, two = (Path(f"a.denoise-{k}.png").read_bytes() for k in (1, 2))
    assert one != two
    cli("denoise", "a.png", "--mode", "sample", "--samples", "2", *quick, "--force")
    assert Path("a.denoise-1.png").read_bytes() == one, "the same seed gives the same samples"
    code, out, err = cli("denoise", "a.png", "--interval", "0.8", "--samples", "4", "-o", "b.png", "--json", *quick)
    report = json.loads(out)
    [row] = report["items"]
    assert code == 0 and report["mode"] == "interval" and row["coverage"] == 0.8
    assert [row[key] for key in ("lower", "upper", "uncertainty")] == [
        f"b-{end}.png" for end in ("lower", "upper", "uncertainty")
    ]
    lower, mean, upper = (read(f"b{end}.png").data for end in ("-lower", "", "-upper"))
    assert (lower <= mean).all() and (mean <= upper).all() and (lower < upper).any()
    assert row["uncertainty_peak"] > row["mean_width"] > 0
    assert cli("denoise", "a.png", "--mode", "interval", "-o", "b.png", *quick)[0] == 2, "nothing is overwritten"


def test_intervals_beside_the_weights_are_calibrated_and_say_what_they_held(cli, priors):
    folder = Path(shutil.copytree(priors["photo"], "mine"))
    generator = torch.Generator().manual_seed(0)
    nothing, ones = (0.0,) * FEATURES, (1.0,) * FEATURES
    flat = ResidualBand(nothing, ones, (nothing,) * 24, (0.0,) * 24, (0.0,) * 24, math.log(0.1))
    truth = torch.rand(4, 100, generator=generator)
    calibration = Calibration.fit(truth - 0.1, truth + 0.1, truth + 0.05, coverage=0.9, band=flat)
    ShippedIntervals(calibration, {"all": 0.912}, "four made-up pictures").save(folder, "denoise")
    photo("a.png", size=(24, 20))
    arguments = ("denoise", "a.png", "--sigma", "0.2", "--interval", "0.9", "--model", "mine", "--json")
    code, out, _ = cli(*arguments, "-o", "b.png")
    [row] = json.loads(out)["items"]
    assert code == 0 and row["nfe"] == 1 and row["mean_width"] == pytest.approx(0.1, abs=1e-3), "scaled by one half"
    assert (row["measured_coverage"], row["measured_on"]) == (0.912, "four made-up pictures") and not row["warnings"]
    _, _, err = cli(*arguments[:-1], "-o", "c.png")
    assert err == "vqfusion: 90 % intervals held 91.2 % of the true values of four made-up pictures\n"
    for name in ("config.json", "prior.safetensors"):
        shutil.copy(f"{priors['grey']}/{name}", folder)
    code, out, _ = cli(*arguments, "--samples", "2", "--steps", "1", "-o", "d.png")
    [row] = json.loads(out)["items"]
    assert code == 0 and row["measured_coverage"] is None, "made for other weights"
    assert any("not calibrated" in line for line in row["warnings"])


def test_inpaint_fills_the_white_part_and_keeps_the_rest(cli, priors):
    photo("a.png")
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 10:30] = 255
    Image.fromarray(mask).save("mask.png")
    code, *_ = cli("inpaint", "a.png", "--mask", "mask.png", "--model", priors["photo"], "--steps", "2", "-o", "b.png")
    before, after = (np.asarray(Image.open(f"{name}.png"), np.int64) for name in "ab")
    changed = np.abs(before - after).max(-1)
    assert code == 0 and changed[mask == 0].max() == 0 < changed[mask > 0].mean()


def test_volumes_keep_place_and_spacing(cli, priors):
    affine = volume("a.nii.gz")
    assert cli("denoise", "a.nii.gz", "--sigma", "20", "--model", priors["volume"])[:2] == (0, "a.denoise.nii.gz\n")
    made = nibabel.load("a.denoise.nii.gz")
    np.testing.assert_allclose(made.affine, affine)
    np.testing.assert_allclose(made.header.get_zooms(), (1.5, 2, 3))
    assert made.shape == (12, 10, 8) and 60 < np.asarray(made.dataobj).mean() < 140, "in the units of the file"
    code, out, _ = cli("upscale", "a.nii.gz", "--steps", "1", "--model", priors["volume"], "-o", "b.nii.gz")
    large = nibabel.load("b.nii.gz")
    assert code == 0 and large.shape == (24, 20, 16)
    np.testing.assert_allclose(large.header.get_zooms(), (0.75, 1, 1.5))
    corner = np.array([-0.5, -0.5, -0.5, 1])
    np.testing.assert_allclose(large.affine @ corner, affine @ corner, atol=1e-6, err_msg="outer faces stay")
    far = np.array([11.5, 9.5, 7.5, 1]), np.array([23.5, 19.5, 15.5, 1])
    np.testing.assert_allclose(large.affine @ far[1], affine @ far[0], atol=1e-6)


@pytest.mark.parametrize("suffix", [".npy", ".tif", ".npz"])
def test_other_volumes_come_back_in_their_format(cli, priors, suffix):
    write(Sample("volume", torch.rand(1, 6, 9, 7), spacing_mm=(3.0, 2.0, 1.5)), f"a{suffix}")
    code, out, _ = cli("denoise", f"a{suffix}", "--sigma", "0.1", "--model", priors["volume"])
    made = read(f"a.denoise{suffix}", "volume")
    assert (code, out) == (0, f"a.denoise{suffix}\n") and made.data.shape == (1, 6, 9, 7)
    if suffix != ".npy":
        assert made.spacing_mm == pytest.approx((3.0, 2.0, 1.5))


def test_missing_voxels_are_filled_in(cli, priors):
    volume("a.nii.gz", fill=float("nan"))
    code, *_ = cli("inpaint", "a.nii.gz", "--model", priors["volume"], "--steps", "2", "-o", "b.npy")
    before, after = read("a.nii.gz", keep=True).data, read("b.npy", "volume").data
    there = ~before.isnan()
    assert code == 0 and torch.isfinite(after).all()
    torch.testing.assert_close(after[there], before[there], atol=0.5, rtol=0)


@pytest.mark.parametrize("gap", ["", "nan"])
def test_gaps_of_a_series_are_filled_in(cli, priors, gap):
    series("a.csv", gap)
    code, out, _ = cli("inpaint", "a.csv", "--model", priors["sound"], "--steps", "2", "-o", "b.csv")
    before, after = read("a.csv", keep=True), read("b.csv")
    there = ~before.data.isnan()
    assert code == 0 and int((~there).sum()) == 10
    assert after.rate_hz == pytest.approx(50) and after.channel_names == ("left", "right")
    torch.testing.assert_close(after.data[there], before.data[there], atol=1e-4, rtol=0)
    expected = 5 + torch.cos(torch.arange(40, 50, dtype=torch.float64) / 7)
    torch.testing.assert_close(after.data[1, 40:50], expected, atol=0.01, rtol=0)
    drawn = ("--mode", "sample", "--samples", "2", "--steps", "2", "-o", "c.csv")
    code, out, err = cli("inpaint", "a.csv", "--model", priors["sound"], *drawn)
    assert code == 0 and out == "c-1.csv\nc-2.csv\n" and "prior of audio" not in err, "the table itself answers"


def test_gaps_of_series_follow_what_the_series_has_shown():
    t = torch.arange(400, dtype=torch.float64)
    walk = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(0)
    y = torch.stack([torch.sin(t / 9) + 0.5 * torch.sin(t / 4), torch.full_like(t, 3.0), walk])[:, None].float()
    seen = torch.ones_like(y, dtype=torch.bool)
    seen[..., 100:125] = seen[..., 300:310] = False
    made = fill_gaps(torch.where(seen, y, 0.0), seen)
    assert (made == y)[seen].all()
    torch.testing.assert_close(made[:2], y[:2], atol=1e-3, rtol=0)
    assert (made - y)[2].abs().max() < 3 * walk.diff().std() * 25**0.5
    short = torch.tensor([[[1.0, 0.0, 3.0]]])
    assert fill_gaps(short, short > 0).tolist() == [[[1.0, 2.0, 3.0]]], "too little to learn from: straight lines"


@pytest.mark.parametrize("gap", [(200, 208), (380, 388), (392, 400), (0, 8), (3, 11)])
def test_gaps_at_the_ends_of_a_series_are_forecasts(gap):
    """What a recurrence describes goes on beyond the ends: nothing is drawn to the mean there."""
    t = torch.arange(400, dtype=torch.float64)
    day = 50 + 10 * torch.sin(t * 2 * torch.pi / 24) + 3 * torch.sin(t * 2 * torch.pi / 168)
    y = torch.stack([torch.sin(t * 2 * torch.pi / 37), day, 2 * t, 1e9 + 2 * t])[:, None]
    seen = torch.ones_like(y, dtype=torch.bool)
    seen[..., slice(*gap)] = False
    made = fill_gaps(torch.where(seen, y, torch.nan), seen)
    assert made.dtype == torch.float64 and (made == y)[seen].all()
    assert ((made - y).abs().amax(dim=2) < 1e-3 * y.std(dim=2)).all()


def test_gaps_of_noise_are_no_worse_than_straight_lines_and_last_values():
    """An autoregressive series, a random walk and one that jumps; of each the mean over gaps at several places."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 60, 600, generator=generator, dtype=torch.float64)
    around, walk, jumps = torch.zeros(60, 600, dtype=torch.float64), noise[1].cumsum(1), noise[2].gt(2.5).double()
    for i in range(2, 600):
        around[:, i] = 1.6 * around[:, i - 1] - 0.8 * around[:, i - 2] + noise[0, :, i]
    for y in (around[:, None], walk[:, None], jumps.cumsum(1)[:, None]):
        for begin, end in ((290, 310), (580, 600), (0, 20)):
            seen = torch.ones_like(y, dtype=torch.bool)
            seen[..., begin:end] = False
            made = fill_gaps(y, seen)
            line = torch.linspace(0, 1, 22, dtype=torch.float64)[1:-1]
            first, last = y[..., max(begin - 1, 0), None], y[..., min(end, 599), None]
            plain = torch.where(seen, y, 0.0)
            plain[..., begin:end] = last if begin == 0 else first if end == 600 else first + line * (last - first)
            error, of_plain = ((one - y).square().mean() for one in (made, plain))
            assert error < 1.15 * of_plain


def test_a_series_with_nothing_to_learn_from_keeps_its_values():
    rows = [[0, 4, 0, 0], [7, 7, 7, 7], [1e300, 1e300, -1e300, 1e300]]
    y = torch.tensor(rows, dtype=torch.float64)[:, None]
    seen = torch.tensor([[False, True, False, False], [True, False, True, True], [True, False, True, True]])[:, None]
    assert fill_gaps(y, seen)[:, 0].tolist() == [[4, 4, 4, 4], [7, 7, 7, 7], [1e300, 0, -1e300, 1e300]]
    assert fill_gaps(y[:1], seen[:1] & False).isnan().all()


def test_rows_that_were_left_out_are_gaps_too(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time_s,a\n" + "".join(f"{i / 10},{i}\n" for i in range(30) if i not in (7, 8, 20)))
    data = read(path, keep=True).data[0]
    assert len(data) == 30 and data.isnan().nonzero().flatten().tolist() == [7, 8, 20] and data[29] == 29


def test_series_in_other_formats(cli, priors):
    np.save("a.npy", np.random.default_rng(0).normal(50, 3, (2, 150)))
    assert cli("denoise", "a.npy", "--sigma", "3", "--model", priors["sound"])[:2] == (0, "a.denoise.npy\n")
    made = np.load("a.denoise.npy")
    assert made.shape == (2, 150) and abs(made.mean() - 50) < 3


def test_a_sound_keeps_its_rate_and_length(cli, priors):
    soundfile.write("a.wav", 0.3 * np.sin(np.arange(9000) / 20), 22050)
    for arguments in (("enhance", "a.wav", "--sigma", "0.05"), ("denoise", "a.wav", "--sigma", "0.05")):
        code, out, _ = cli(*arguments, "--model", priors["sound"])
        wave, rate = soundfile.read(out.strip())
        assert code == 0 and rate == 22050 and len(wave) == 9000
    mask = np.zeros(9000, np.float32)
    mask[4000:4400] = 1
    np.save("mask.npy", mask)
    code, *_ = cli("inpaint", "a.wav", "--mask", "mask.npy", "--model", priors["sound"], "--steps", "2", "-o", "b.wav")
    assert code == 0 and len(soundfile.read("b.wav")[0]) == 9000


def test_a_report_is_one_page_with_pictures_beside_it(cli, priors):
    photo("in/a.png"), series("in/b.csv", "1"), volume("in/c.nii.gz")
    soundfile.write("in/d.wav", 0.3 * np.sin(np.arange(4000) / 20), 16000)
    for path in ("a.png", "b.csv", "c.nii.gz", "d.wav"):
        kind = {"png": "photo", "gz": "volume"}.get(path.split(".")[-1], "sound")
        arguments = ("--interval", "0.9", "--samples", "2", "--steps", "2", "--model", priors[kind])
        code, out, err = cli(
            "denoise", f"in/{path}", "--sigma", "0.1", "--report", f"report-{kind}-{path[0]}", *arguments
        )
        folder = Path(f"report-{kind}-{path[0]}")
        assert code == 0 and out.splitlines()[-1] == str(folder / "index.html"), err
        text = (folder / "index.html").read_text()
        assert "http:" not in text.replace("http://www.w3.org", "") and "https:" not in text, "it loads nothing"
        assert json.loads((folder / "report.json").read_text())["items"][0]["input"] == f"in/{path}"
    made = {path.name for path in Path("report-photo-a").iterdir()}
    assert made >= {"a-side-by-side.png", "a-difference.png", "a-uncertainty.png"}
    code, _, err = cli("denoise", "in/a.png", "--model", priors["photo"], "--report", "report-photo-a", "-o", "x.png")
    assert code == 2 and "exists already" in err


def test_a_report_replaces_no_picture_unless_forced(cli, priors):
    photo("a.png")
    arguments = ("denoise", "a.png", "--sigma", "0.1", "--model", priors["photo"], "--report", "report", "-o", "b.png")
    Path("report").mkdir()
    for view in ("side-by-side", "difference", "uncertainty"):
        mine = Path(f"report/a-{view}.png")
        mine.write_text("mine")
        code, out, err = cli(*arguments, "--interval", "0.9")
        assert (code, out) == (2, "") and f"{mine}: exists already" in err and mine.read_text() == "mine"
        assert sorted(Path().glob("**/*.png")) == [Path("a.png"), mine], "refused before any work"
        mine.unlink()
    Path("report/a-uncertainty.png").write_text("mine")
    assert cli(*arguments)[0] == 0, "the mean has no uncertainty"
    assert Path("report/a-uncertainty.png").read_text() == "mine"
    assert cli(*arguments, "--interval", "0.9", "--samples", "2", "--steps", "1", "--force")[0] == 0
    assert Path("report/a-uncertainty.png").read_bytes().startswith(b"\x89PNG")


def test_two_views_of_a_report_never_share_a_name(cli, priors):
    volume("a.nii.gz"), np.save("a.npy", np.zeros((4, 4, 4), np.float32))
    Path("b").mkdir(), volume("b/a.nii.gz")
    arguments = ("--sigma", "20", "--model", priors["volume"], "--report", "report")
    for files, views in (
        (("a.nii.gz", "b/a.nii.gz"), ["a-side-by-side.png", "b/a-side-by-side.png"]),
        (("a.nii.gz", "a.npy"), ["a-nii-gz-side-by-side.png", "a-npy-side-by-side.png"]),
    ):
        assert cli("denoise", *files, *arguments, "--force")[0] == 0
        made = sorted(path.relative_to("report").as_posix() for path in Path("report").rglob("*-side-by-side.png"))
        assert made == views
        shutil.rmtree("report")


def test_a_report_on_a_name_that_is_no_utf_8(cli, priors):
    name = "caf\udce9.png"
    photo(name)
    code, *_ = cli("denoise", name, "--sigma", "0.1", "--model", priors["photo"], "--report", "report", "-o", "b.png")
    assert code == 0 and json.loads(Path("report/report.json").read_text())["inputs"] == [name]
    assert "caf\\udce9.png" in Path("report/index.html").read_text()


def test_every_kind_of_input_has_a_prior_in_the_zoo():
    for modality in ("image", "volume", "audio", "series"):
        assert kind_of(find_model(prior_for(modality))) == "prior"


@pytest.mark.parametrize("noise", ["poisson", "salt-and-pepper", "rician"])
def test_other_noise(cli, priors, noise):
    photo("a.png", mode="L")
    sigma = () if noise == "salt-and-pepper" else ("--sigma", "0.1")
    arguments = ("--noise", noise, *sigma, "--steps", "2", "--model", priors["grey"], "--json")
    code, out, err = cli("denoise", "a.png", *arguments)
    assert code == 0, err
    expected = 0.0 if noise == "salt-and-pepper" else 0.1
    assert json.loads(out)["items"][0]["sigma"] == pytest.approx(expected, abs=1e-6)


def test_the_gain_of_photons_is_read_off_the_picture():
    y, x = torch.meshgrid(torch.linspace(0, 1, 200), torch.linspace(0, 1, 200), indexing="ij")
    clean = 0.2 + 0.6 * (x + y) / 2
    for gain in (0.002, 0.01):
        noisy = gain * torch.poisson(clean / gain, torch.Generator().manual_seed(1))
        assert estimate_gain(noisy[None, None]) == pytest.approx(gain, rel=0.15)


def test_noise_of_a_sound_of_a_low_rate_is_white_at_the_rate_of_the_prior():
    noise = 0.05 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    fitted = FittedSample.of(Sample("audio", noise, sample_rate_hz=8000), tiny("sound")).with_noise_above(None)
    assert fitted.sigma == pytest.approx(0.05, rel=0.05)
    level = fitted.level(0.05)
    assert float(level * fitted.scale) == pytest.approx(0.05 * 2**0.5) and fitted.level_back(level) == pytest.approx(
        0.05
    )
    power = torch.fft.rfft(fitted.y[0, 0]).abs().square().chunk(4)
    assert max(float(part.mean()) for part in power) < 1.35 * min(float(part.mean()) for part in power)
    back = fitted.back(fitted.y).data
    assert (back - noise)[:, 100:-100].square().mean() < 0.06 * noise.square().mean()


@pytest.mark.parametrize("modality", ["volume", "series"])
def test_units_come_back(modality):
    shape = (1, 8, 9, 10) if modality == "volume" else (3, 120)
    data = 40 + 7 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    data[0, 3] = float("nan")
    fitted = FittedSample.of(Sample(modality, data), tiny("volume" if modality == "volume" else "sound"))
    assert fitted.seen is not None and torch.isfinite(fitted.y).all() and fitted.y.abs().max() < 3
    there = ~data.isnan()
    torch.testing.assert_close(fitted.back(fitted.y).data[there], data[there], atol=1e-4, rtol=0)
    level = torch.as_tensor(fitted.level(7.0))
    assert fitted.level_back(level) == pytest.approx(7.0, rel=1e-5)


def test_a_prior_that_learned_grey_takes_it_as_equal_channels_and_maps_of_levels_in_tiles():
    prior = tiny("photo").requires_grad_(False)
    prior.config = prior.config.model_copy(update={"learned": ("grey", "holes", "uneven")})
    generator = torch.Generator().manual_seed(0)
    x, level = torch.rand(1, 1, 90, 140, generator=generator), torch.rand(1, 1, 90, 140, generator=generator) * 0.3
    level[:, :, 20:24] = torch.inf
    adapted = AnySizePrior(prior, 1)
    assert adapted.sigma_range == prior.sigma_range and adapted.learned == prior.config.learned
    expected = prior.denoise(x.expand(-1, 3, -1, -1), level).mean(1, keepdim=True)
    assert torch.allclose(adapted.denoise(x, level), expected, atol=NETWORK)
    assert torch.allclose(AnySizePrior(prior, 1, most=105 * 105).denoise(x, level), expected, atol=1e-4)
    alone = AnySizePrior(Prior(PriorConfig(widths=(4, 6), depths=(1, 1))).requires_grad_(False), 3)
    wide = alone.denoise(x.expand(-1, 3, -1, -1), level.expand(-1, 3, -1, -1))
    assert torch.allclose(wide[:, :1], wide[:, 1:2], atol=1e-6)


@pytest.mark.parametrize("mask", [False, True])
def test_a_map_of_levels_is_one_call_for_a_prior_that_learned_it(mask):
    prior = tiny("photo").requires_grad_(False)
    prior.config = prior.config.model_copy(update={"learned": ("holes", "uneven")})
    y = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    if mask:
        seen = torch.rand(32, 32, generator=torch.Generator().manual_seed(1)) > 0.5
        made = restore(AnySizePrior(prior), y, Mask(seen), steps=1)
        assert torch.equal(made.mean[..., seen], y[..., seen]), "what is seen without noise stays"
        level = torch.where(seen, 0.0, torch.inf).expand(1, 1, 32, 32)
        assert torch.allclose(made.mean[..., ~seen], prior.denoise(y, level)[..., ~seen], atol=NETWORK)
    else:
        level = torch.linspace(0.02, 0.3, 32).expand(1, 1, 32, 32)
        made = restore(AnySizePrior(prior), y, Denoise(level))
        assert torch.allclose(made.mean, prior.denoise(y, level), atol=NETWORK)
    assert made.nfe == 1
