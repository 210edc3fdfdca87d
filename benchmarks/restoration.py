"""One grey prior, many tasks: the standard tables of denoising, super-resolution, inpainting and intervals.

Set12 at sigma 15, 25, 50 as in KAIR (noise of numpy, seed 0 for each picture, not clipped; results rounded to 8 bits;
mean over pictures); Set5, luminance, x2, x3, x4 (Pillow's bicubic, rounded; `scale` pixels cut off at each side);
Set12 with 50 % and 80 % of the pixels lost (seed i for picture i); 90 % intervals at sigma 25. Settings were chosen on
the last 40 pictures of train400, which the prior has not seen; the test sets were used once for each row. Rows that
are in the result file are not computed again.

    python benchmarks/restoration.py --model runs/grey-prior           # hours on a busy machine
    python benchmarks/restoration.py --model ... --rows denoise upscale     # some of the rows
    python benchmarks/restoration.py --bm3d-python bm3d/bin/python     # rows of BM3D, in an environment of its own

`bm3d` is for non-commercial use and no part of the project: the last line needs an environment that has it.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqfusion.data.standard import grey_pictures
from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.operators import Denoise, Downsample, Mask, Operator, random_elements
from vqfusion.evaluate.metrics import psnr, ssim
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.intervals import EVERYTHING, Calibration, coverage_by_group
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.residual_band import ResidualBand, local_features
from vqfusion.models.restoration.residual_statistics import statistics
from vqfusion.models.restoration.restoring import restore
from vqfusion.nn.bfloat16 import has_bfloat16

RESULT = Path(__file__).parent / "results" / "restoration.json"
SIGMAS, SCALES, LOST = (15, 25, 50), (2, 3, 4), (0.5, 0.8)
HOLDOUT = 40
MEAN_STEPS = {"upscale": 8, "inpaint": 12}
SAMPLE_STEPS = 8
CROP = 96  # of intervals from samples, which cost many calls
DRAWS = 8
LUMINANCE = np.array([65.481, 128.553, 24.966]) / 255
BM3D = """
import sys, numpy as np, bm3d
data = np.load(sys.argv[1])
made = {name: bm3d.bm3d(data[name], float(data["sigma"])) for name in data.files if name != "sigma"}
np.savez(sys.argv[2], **made)
"""


def grey(path: Path) -> Tensor:
    """`[1, 1, H, W]` in [0, 1]."""
    return torch.from_numpy(np.asarray(Image.open(path).convert("L")).astype(np.float32))[None, None] / 255


def luminance(path: Path, scale: int) -> Tensor:
    """Y of ITU-R BT.601, rounded, cut to a multiple of the scale."""
    rgb = np.asarray(Image.open(path).convert("RGB")).astype(np.float64)
    y = torch.from_numpy((rgb @ LUMINANCE + 16).round().astype(np.float32))[None, None] / 255
    return y[..., : y.shape[2] // scale * scale, : y.shape[3] // scale * scale]


def rounded(x: Tensor) -> Tensor:
    """As a picture file holds it."""
    return (x.clamp(0, 1) * 255).round() / 255


def noisy(x: Tensor, sigma: int, seed: int = 0) -> Tensor:
    """KAIR's noise: numpy's legacy generator, this seed for each picture."""
    noise = np.random.RandomState(seed).normal(0, sigma / 255, (x.shape[2], x.shape[3]))
    return x + torch.from_numpy(noise.astype(np.float32))


def scores(made: Iterable[Tensor], truths: list[Tensor], border: int = 0) -> dict[str, float]:
    """Mean over pictures of what an 8-bit file would score."""
    decibels, likeness = [], []
    for one, truth in zip(made, truths, strict=True):
        inside = (..., slice(border, truth.shape[2] - border), slice(border, truth.shape[3] - border))
        decibels.append(float(psnr(rounded(one)[inside], truth[inside])))
        likeness.append(float(ssim(rounded(one)[inside], truth[inside])))
    return {"psnr": round(float(np.mean(decibels)), 3), "ssim": round(float(np.mean(likeness)), 4)}


class Table:
    """The result file: rows by name, kept as soon as they are known."""

    def __init__(self) -> None:
        self.rows: dict[str, dict] = json.loads(RESULT.read_text()) if RESULT.exists() else {}

    def row(self, name: str, make: Callable[[], dict]) -> None:
        if name in self.rows:
            return
        started = time.process_time()
        found = make() | {"cpu_s": round(time.process_time() - started, 1)}
        self.rows = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        self.rows[name] = found
        RESULT.write_text(json.dumps(self.rows, indent=1) + "\n")
        print(name, found, flush=True)


class HalfPrecision:
    """A prior whose network runs in bfloat16: twice as fast here, 0.003 dB apart on a hold-out picture."""

    def __init__(self, prior: AnySizePrior):
        self.prior, self.sigma_range = prior, prior.sigma_range

    def denoise(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            return self.prior.denoise(x, sigma).float()

    def blind(self, x: Tensor) -> Tensor:
        """What the network says when it is not told the level."""
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            return self.prior.prior.denoise(x, None).float()


def one(prior: HalfPrecision, y: Tensor, operator: Operator, mode: str = "mean", steps: int | None = None) -> Tensor:
    """A mean, or a single sample of seed 0."""
    return restore(prior, y, operator, mode=mode, samples=1, steps=steps, generator=seeded(0, 1)).mean


def denoise(table: Table, prior: HalfPrecision, mode: str) -> None:
    pictures = [grey(path) for path in grey_pictures("set12")]
    for sigma in SIGMAS:
        given = [noisy(x, sigma) for x in pictures]

        def told(given: list[Tensor] = given, sigma: int = sigma) -> dict:
            steps = None if mode == "mean" else SAMPLE_STEPS
            made = [one(prior, y, Denoise(sigma / 255), mode, steps) for y in given]
            return scores(made, pictures) | {"nfe": steps or 1}

        def estimated(given: list[Tensor] = given) -> dict:
            found = [restore(prior, y) for y in given]
            levels = [round(float(f.sigma) * 255, 2) for f in found]
            return scores([f.mean for f in found], pictures) | {"nfe": 1, "estimates": levels}

        def ensemble(given: list[Tensor] = given) -> dict:
            return scores([restore(prior, y, self_ensemble=True).mean for y in given], pictures) | {"nfe": 8}

        def blind(given: list[Tensor] = given) -> dict:
            return scores([prior.blind(y) for y in given], pictures) | {"nfe": 1}

        def non_local(given: list[Tensor] = given, sigma: int = sigma) -> dict:
            from skimage.restoration import denoise_nl_means

            level = sigma / 255
            settings = dict(h=0.8 * level, sigma=level, patch_size=5, patch_distance=6, fast_mode=True)
            made = [denoise_nl_means(y[0, 0].numpy(), **settings) for y in given]
            return scores([torch.from_numpy(m)[None, None].float() for m in made], pictures)

        table.row(f"denoise set12 sigma {sigma}: {mode}, sigma given", told)
        if mode == "mean":
            table.row(f"denoise set12 sigma {sigma}: mean, sigma estimated", estimated)
            table.row(f"denoise set12 sigma {sigma}: mean, sigma estimated, self-ensemble", ensemble)
            table.row(f"denoise set12 sigma {sigma}: mean, blind network", blind)
            table.row(f"denoise set12 sigma {sigma}: NLM (scikit-image)", non_local)


def upscale(table: Table, prior: HalfPrecision, mode: str) -> None:
    for scale in SCALES:
        truths = [luminance(path, scale) for path in grey_pictures("set5")]
        wide = [Image.fromarray((x[0, 0] * 255).round().byte().numpy()) for x in truths]
        small = [im.resize((im.width // scale, im.height // scale), Image.Resampling.BICUBIC) for im in wide]

        def ours(small: list = small, truths: list[Tensor] = truths, scale: int = scale) -> dict:
            given = [torch.from_numpy(np.array(im)).float()[None, None] / 255 for im in small]
            operator = Downsample(scale, sigma=0.29 / 255)  # rounding to 8 bits
            steps = MEAN_STEPS["upscale"] if mode == "mean" else SAMPLE_STEPS
            return scores([one(prior, y, operator, mode, steps) for y in given], truths, scale) | {"nfe": steps}

        def resized(
            filter: Image.Resampling, small: list = small, truths: list[Tensor] = truths, s: int = scale
        ) -> dict:
            made = [np.array(im.resize((im.width * s, im.height * s), filter)) for im in small]
            return scores([torch.from_numpy(m).float()[None, None] / 255 for m in made], truths, s)

        table.row(f"upscale set5 x{scale}: {mode}", ours)
        if mode == "mean":
            table.row(f"upscale set5 x{scale}: bicubic (Pillow)", lambda f=resized: f(Image.Resampling.BICUBIC))
            table.row(f"upscale set5 x{scale}: Lanczos (Pillow)", lambda f=resized: f(Image.Resampling.LANCZOS))


def inpaint(table: Table, prior: HalfPrecision, mode: str) -> None:
    pictures = [grey(path) for path in grey_pictures("set12")]
    for lost in reversed(LOST):
        masks = [random_elements(x.shape[2:], lost, g) for x, g in zip(pictures, seeded(0, 12), strict=True)]

        def ours(masks: list[Tensor] = masks) -> dict:
            steps = MEAN_STEPS["inpaint"] if mode == "mean" else SAMPLE_STEPS
            made = [one(prior, x * m, Mask(m), mode, steps) for x, m in zip(pictures, masks, strict=True)]
            return scores(made, pictures) | {"nfe": steps}

        def linear(masks: list[Tensor] = masks) -> dict:
            return scores([interpolated(x, m) for x, m in zip(pictures, masks, strict=True)], pictures)

        table.row(f"inpaint set12 {lost:.0%} lost: {mode}", ours)
        if mode == "mean":
            table.row(f"inpaint set12 {lost:.0%} lost: griddata, linear (SciPy)", linear)


def interpolated(x: Tensor, seen: Tensor) -> Tensor:
    """Linear between the seen pixels, the nearest of them outside of their hull."""
    from scipy.interpolate import griddata

    places, values = np.argwhere(seen.numpy()), x[0, 0].numpy()[seen.numpy()]
    everywhere = tuple(np.mgrid[: x.shape[2], : x.shape[3]])
    made, nearest = (griddata(places, values, everywhere, how) for how in ("linear", "nearest"))
    return torch.from_numpy(np.where(np.isnan(made), nearest, made)).float()[None, None]


def intervals(table: Table, prior: HalfPrecision, bm3d_python: str | None) -> None:
    """90 % at sigma 25: bands made on 20 pictures kept from training, calibrated on 20 others, tested on Set12."""
    sigma, level = 25, torch.tensor([25 / 255])
    kept = [grey(path) for path in grey_pictures("train400")[-HOLDOUT:]]
    test = [grey(path) for path in grey_pictures("set12")]
    seen = {"fit": kept[::2], "calibrate": kept[1::2], "test": test}
    given = {part: [noisy(x, sigma, i) for i, x in enumerate(xs)] for part, xs in seen.items()}

    def about(means: dict[str, list[Tensor]], band: ResidualBand | None, crop: int | None = None) -> dict:
        def half(part: str, i: int) -> Tensor:
            mean = means[part][i]
            return band(mean, given[part][i], level) if band else torch.full_like(mean, 0.05)

        return judged(
            [(m - half("calibrate", i), m + half("calibrate", i), m) for i, m in enumerate(means["calibrate"])],
            [(m - half("test", i), m + half("test", i), m) for i, m in enumerate(means["test"])],
            seen["calibrate"],
            seen["test"],
        )

    def ours(part: str) -> list[Tensor]:
        return [one(prior, y, Denoise(sigma / 255)) for y in given[part]]

    cache: dict[str, dict[str, list[Tensor]]] = {}

    def means() -> dict[str, list[Tensor]]:
        if not cache:
            cache["ours"] = {part: ours(part) for part in seen}
        return cache["ours"]

    def fitted(made: dict[str, list[Tensor]]) -> ResidualBand:
        features, residuals = [], []
        for m, y, x in zip(made["fit"], given["fit"], seen["fit"], strict=True):
            features.append(local_features(m, y, level).reshape(-1, local_features(m, y, level).shape[-1]))
            residuals.append((x - m).flatten())
        return ResidualBand.fit(torch.cat(features), torch.cat(residuals))

    def banded() -> dict:
        band, made = fitted(means()), means()
        found = about(made, band)
        parts = zip(made["calibrate"], given["calibrate"], strict=True)
        told = [statistics(y, m, Denoise(sigma / 255), level)[0] for m, y in parts]
        halves = [band(m, y, level) for m, y in zip(made["calibrate"], given["calibrate"], strict=True)]
        m = torch.cat(made["calibrate"])
        calibration = Calibration.fit(
            m - torch.cat(halves), m + torch.cat(halves), torch.cat(seen["calibrate"]), found=told, band=band
        )
        warned = [
            len(calibration.warnings(statistics(y, m, Denoise(sigma / 255), level)[0]))
            for m, y in zip(made["test"], given["test"], strict=True)
        ]
        coloured = [torch.nn.functional.avg_pool2d(x, 3, 1, 1) * 1.8 - 0.8 * x.mean() for x in given["test"]]
        odd = [restore(prior, y, Denoise(sigma / 255)).mean for y in coloured[:4]]
        alarms = [
            len(calibration.warnings(statistics(y, m, Denoise(sigma / 255), level)[0]))
            for m, y in zip(odd, coloured[:4], strict=True)
        ]
        return found | {
            "test_pictures_with_a_warning": sum(d > 0 for d in warned),
            "of_4_pictures_with_smoothed_noise_warned": sum(a > 0 for a in alarms),
        }

    def sampled() -> dict:
        """From samples, on crops from the middle; the same crops for the band, to compare."""
        crops = {part: [middle(x) for x in seen[part]] for part in ("calibrate", "test")}
        noise = {part: [middle(y) for y in given[part]] for part in crops}
        ends: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
        for part in crops:
            many = seeded(0, len(noise[part]))
            made = restore(
                prior, torch.cat(noise[part]), Denoise(sigma / 255), "interval", DRAWS, SAMPLE_STEPS, generator=many
            )
            assert made.lower is not None and made.upper is not None
            ends[part] = [
                (made.lower[i : i + 1], made.upper[i : i + 1], made.mean[i : i + 1]) for i in range(len(made.mean))
            ]
        found = judged(ends["calibrate"], ends["test"], crops["calibrate"], crops["test"])
        raw = coverage_by_group(
            *(torch.cat(part) for part in zip(*[e[:2] for e in ends["test"]], strict=True)), torch.cat(crops["test"])
        )
        band = fitted(means())
        same: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {}
        for part in crops:
            pairs = zip(means()[part], given[part], strict=True)
            same[part] = [tuple(middle(t) for t in (m - band(m, y, level), m + band(m, y, level), m)) for m, y in pairs]  # type: ignore[misc]
        beside = judged(same["calibrate"], same["test"], crops["calibrate"], crops["test"])
        all_of_them = raw[EVERYTHING]
        return found | {
            "raw_coverage": round(all_of_them.share, 4),
            "raw_width": round(all_of_them.width, 4),
            "band_on_the_same_crops": beside,
        }

    table.row("intervals 90 %, sigma 25: learned band about the mean", banded)
    table.row("intervals 90 %, sigma 25: constant band about the mean", lambda: about(means(), None))
    if bm3d_python:

        def others() -> dict[str, list[Tensor]]:
            if "bm3d" not in cache:
                cache["bm3d"] = {part: run_bm3d(bm3d_python, given[part], sigma) for part in seen}
            return cache["bm3d"]

        table.row("intervals 90 %, sigma 25: constant band about BM3D", lambda: about(others(), None))
        table.row("intervals 90 %, sigma 25: learned band about BM3D", lambda: about(others(), fitted(others())))
    table.row(f"intervals 90 %, sigma 25: {DRAWS} samples of {SAMPLE_STEPS} steps, crops {CROP}", sampled)


Ends = tuple[Tensor, Tensor, Tensor]


def judged(calibrate: list[Ends], test: list[Ends], truths: list[Tensor], test_truths: list[Tensor]) -> dict:
    """Fit on some pictures, count on others: coverage over all pixels and picture by picture, mean width in levels."""
    lower, upper, centre = (
        torch.cat([part.reshape(1, -1) for part in parts], 1) for parts in zip(*calibrate, strict=True)
    )
    truth = torch.cat([x.reshape(1, -1) for x in truths], 1)
    calibration = Calibration.fit(lower, upper, truth, centre=centre)
    shares, widths, counts = [], [], []
    for (low, high, mean), x in zip(test, test_truths, strict=True):
        found = coverage_by_group(*calibration.apply(low, high, mean), x)[EVERYTHING]
        shares.append(found.share), widths.append(found.width), counts.append(found.elements)
    weights = np.array(counts) / sum(counts)
    return {
        "coverage": round(float(weights @ np.array(shares)), 4),
        "coverage_mean_of_pictures": round(float(np.mean(shares)), 4),
        "coverage_least_picture": round(min(shares), 4),
        "coverage_greatest_picture": round(max(shares), 4),
        "width_255": round(255 * float(weights @ np.array(widths)), 2),
        "scale": round(calibration.scales[EVERYTHING], 4),
    }


def middle(x: Tensor) -> Tensor:
    top, left = (x.shape[2] - CROP) // 2, (x.shape[3] - CROP) // 2
    return x[..., top : top + CROP, left : left + CROP]


def run_bm3d(python: str, given: list[Tensor], sigma: int) -> list[Tensor]:
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "given.npz", Path(folder) / "made.npz"
        arrays = {str(i): y[0, 0].double().numpy() for i, y in enumerate(given)}
        np.savez(source, sigma=np.float64(sigma / 255), **arrays)  # type: ignore[arg-type]
        subprocess.run([python, "-c", BM3D, str(source), str(made)], check=True)
        stored = np.load(made)
        return [torch.from_numpy(stored[str(i)]).float()[None, None] for i in range(len(given))]


def bm3d(table: Table, python: str) -> None:
    pictures = [grey(path) for path in grey_pictures("set12")]
    for sigma in (25, 15, 50):
        given = [noisy(x, sigma) for x in pictures]
        table.row(
            f"denoise set12 sigma {sigma}: BM3D",
            lambda given=given, sigma=sigma: scores(run_bm3d(python, given, sigma), pictures),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="runs/grey-prior", help="folder of the grey prior")
    parser.add_argument("--rows", nargs="+", default=["upscale", "denoise", "inpaint", "intervals", "samples"])
    parser.add_argument("--bm3d-python", help="a Python that has the package bm3d")
    asked = parser.parse_args()
    table = Table()
    torch.set_num_threads(1)
    prior = HalfPrecision(AnySizePrior(Prior.from_pretrained(asked.model), 1))
    groups = {"denoise": denoise, "upscale": upscale, "inpaint": inpaint}
    for name in asked.rows:
        if name == "samples":
            for run in groups.values():
                run(table, prior, "sample")
        elif name == "intervals":
            intervals(table, prior, asked.bm3d_python)
        elif name == "bm3d":
            bm3d(table, asked.bm3d_python)
        else:
            groups[name](table, prior, "mean")


if __name__ == "__main__":
    main()
