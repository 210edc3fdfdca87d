"""Error bars of the shipped photo prior: fitted and calibrated, then measured on pictures that neither saw.

Noise of 5 to 60 / 255, clipped and rounded to 8 bits as files are; the level is told for one half of the crops and
found by `noise_seen` for the other, of which those are left out in which no white noise was found. One half of the
photographs that the prior was trained on fits the band, the other half calibrates it: of one half of 22 kept
photographs alone the factors vary by 5 %, and errors on kept photographs are no larger than on the others
(docs/decisions.md). What the intervals hold is measured on all kept photographs, on the natural colour pictures of
scikit-image and, where they are at hand (`$VQFUSION_DATA/images/kodak24`), on Kodak's; by region, by noise level, and
beside intervals of one width for each region and level. Then noise of other kinds: how often a line warns of it.
Every crop is used in colour and in grey. Needs the `photos` data (docs/zoo/priors.md).

    python benchmarks/photo_intervals.py --save      # about four minutes on a free core
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import vqfusion
from vqfusion.data.io.picture import read_picture
from vqfusion.data.photos import data_root, open_photos
from vqfusion.data.transforms import resize_picture
from vqfusion.diffusion.operators import Denoise
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.intervals import EVERYTHING, Calibration, coverage_by_group
from vqfusion.models.restoration.noise_seen import NoiseSeen, noise_seen
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.regions import LEVEL_NAMES, REGIONS, region_classes
from vqfusion.models.restoration.residual_band import ResidualBand, local_features
from vqfusion.models.restoration.residual_statistics import statistics
from vqfusion.models.restoration.shipped_intervals import ShippedIntervals
from vqfusion.train.restoration.camera import jpeg

CROP, LONGEST, SEED = 160, 900, 0
EACH = {"fit": 2, "calibrate": 3, "photographs": 4, "scikit-image": 6, "kodak24": 2}  # crops of each picture
ELEMENTS = 1500  # of each crop
COVERAGES = (0.8, 0.9, 0.95)
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
RESULT = Path(__file__).parent / "results" / "photo_intervals.json"
Noise = Callable[[Tensor, float, torch.Generator], Tensor]


@dataclass(frozen=True)
class Answered:
    """Some elements `[N]` of an answer, with the statistics of the whole."""

    group: str
    truth: Tensor
    mean: Tensor
    features: Tensor
    classes: Tensor
    found: dict[str, float]
    line: str


def pictures() -> dict[str, list[Tensor]]:
    """Clean pictures of each part."""
    records = open_photos().records
    known = [record for record in records if record.split == "train"]
    kept = [record for record in records if record.split != "train"]
    chosen = {"fit": known[::2], "calibrate": known[1::2], "photographs": kept}
    found = {part: [small(record.load("image").data) for record in rows] for part, rows in chosen.items()}
    from skimage import data

    loaded = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.stereo_motorcycle()[0]]
    found["scikit-image"] = [torch.from_numpy(one[..., :3]).permute(2, 0, 1).float() / 255 for one in loaded]
    kodak = sorted((data_root() / "images" / "kodak24").glob("*.png"))
    found["kodak24"] = [read_picture(path, channels=3).data for path in kodak]
    return {part: [one for one in rows if min(one.shape[1:]) >= CROP] for part, rows in found.items()}


def small(picture: Tensor) -> Tensor:
    height, width = picture.shape[1:]
    factor = min(1.0, LONGEST / max(height, width))
    return resize_picture(picture, (round(height * factor), round(width * factor)))


def crops(clean: list[Tensor], count: int, generator: torch.Generator) -> Iterator[tuple[Tensor, float, bool]]:
    """Crops `[1, C, CROP, CROP]`, their noise levels, and whether these are told; every one in colour and in grey."""
    for i in range(count * len(clean)):
        picture = clean[i % len(clean)]
        top, left = (int(torch.randint(n - CROP + 1, (1,), generator=generator)) for n in picture.shape[1:])
        sigma = (5 / 255) * 12 ** ((i * 0.6180339887) % 1)
        crop = picture[None, :, top : top + CROP, left : left + CROP]
        yield crop, sigma, i // len(clean) % 2 == i % 2
        yield (crop * LUMA).sum(1, keepdim=True), sigma, i // len(clean) % 2 == i % 2


def white(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    return x + sigma * torch.randn(x.shape, generator=generator)


def answer(prior: Prior, x: Tensor, y: Tensor, told: float | None, generator: torch.Generator) -> Answered | None:
    """Answer of the prior to y as an 8-bit file; None where no noise was found."""
    y = (y.clamp(0, 1) * 255).round() / 255
    seen = NoiseSeen(told) if told else noise_seen(y[0])
    if seen.level == 0:
        return None
    level = torch.tensor([seen.level])
    mean = AnySizePrior(prior, x.shape[1]).denoise(y, level)
    some = torch.randperm(x.numel(), generator=generator)[:ELEMENTS]
    features = local_features(mean, y, level).flatten(0, -2)[some]
    classes = region_classes(mean, level).flatten()[some]
    found = statistics(y, mean, Denoise(0.1), level)[0]
    group = "grey" if x.shape[1] == 1 else "colour"
    return Answered(group, x.flatten()[some], mean.flatten()[some], features, classes, found, seen.line)


def answers(prior: Prior, clean: list[Tensor], each: int, generator: torch.Generator) -> list[Answered]:
    rows = []
    for x, sigma, told in crops(clean, each, generator):
        row = answer(prior, x, white(x, sigma, generator), sigma if told else None, generator)
        if row is not None and not row.line:
            rows.append(row)
    return rows


def ends(rows: list[Answered], band: ResidualBand | None) -> tuple[Tensor, Tensor, Tensor, list[str], Tensor]:
    """Lower and upper ends, truths, groups and classes; without a band of one half-width for all."""
    half = torch.stack([torch.ones(ELEMENTS) if band is None else band.width(row.features) for row in rows])
    mean, truth, classes = (torch.stack([getattr(row, k) for row in rows]) for k in ("mean", "truth", "classes"))
    return mean - half, mean + half, truth, [row.group for row in rows], classes


def measured(calibration: Calibration, rows: list[Answered], band: ResidualBand | None) -> Iterator[dict]:
    """Coverage of each group: of all, by region, and by noise level."""
    for group in ("colour", "grey"):
        own = [row for row in rows if row.group == group]
        lower, upper, truth, _, classes = ends(own, band)
        lower, upper = calibration.apply(lower, upper, group=group, classes=classes)
        whole = coverage_by_group(lower, upper, truth)[EVERYTHING]
        row: dict = {"group": group, "held": round(whole.share, 4), "width_255": round(255 * whole.width, 2)}
        row |= {"crops": len(own), "warned": sum(bool(calibration.warnings(one.found)) for one in own)}
        inside, steps = (truth >= lower) & (truth <= upper), len(LEVEL_NAMES)
        for names, numbers in ((REGIONS, classes // steps), (LEVEL_NAMES, classes % steps)):
            for i, name in enumerate(names):
                if bool((numbers == i).any()):
                    row[name] = round(float(inside[numbers == i].float().mean()), 3)
        pictures_held = inside.float().mean(dim=1)
        row["worst_crop"] = round(float(pictures_held.min()), 3)
        yield row


def laplace(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    u = torch.rand(x.shape, generator=generator) - 0.5
    return x - sigma / 2**0.5 * u.sign() * (1 - 2 * u.abs()).clamp(min=1e-6).log()


def salt_and_pepper(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    draw = torch.rand(x.shape, generator=generator)
    return torch.where(draw < sigma / 4, 0.0, torch.where(draw > 1 - sigma / 4, 1.0, x))


def grain(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    soft = F.avg_pool2d(torch.randn(x.shape, generator=generator), 3, 1, 1)
    return x + sigma * soft / soft.std()


def stripes(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    return white(x, sigma / 2, generator) + sigma * torch.randn((*x.shape[:3], 1), generator=generator)


def photons(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    return torch.poisson(x / sigma**2, generator=generator) * sigma**2


def vignette(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    row = torch.linspace(-1, 1, CROP)
    return x + sigma * (0.2 + row[:, None] ** 2 + row**2) * torch.randn(x.shape, generator=generator)


def shared(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    if x.shape[1] == 1:
        return grain(x, sigma, generator)
    return x + sigma * torch.randn((1, 1, *x.shape[2:]), generator=generator)


def compressed(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    noisy = white(x, sigma, generator).clamp(0, 1)
    return jpeg(noisy[0].expand(3, -1, -1), 40, 2)[None, : x.shape[1]]


def mosaic(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """White noise on every second pixel of a quincunx, the others interpolated."""
    noisy = white(x, sigma, generator)
    rows = torch.arange(CROP)
    seen = ((rows[:, None] + rows) % 2 == 0).float()
    kernel = torch.tensor([[0.0, 1, 0], [1, 4, 1], [0, 1, 0]])[None, None] / 4
    planes = noisy.transpose(0, 1) * seen
    weight = F.conv2d(seen[None, None], kernel, padding=1)
    return (F.conv2d(planes, kernel, padding=1) / weight).transpose(0, 1)


def enlarged(x: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn((1, x.shape[1], CROP // 2, CROP // 2), generator=generator)
    return x + sigma * F.interpolate(noise, (CROP, CROP), mode="bilinear")


ODD: tuple[Noise, ...] = (
    laplace, salt_and_pepper, grain, stripes, photons, vignette, shared, compressed, mosaic, enlarged,
)  # fmt: skip


def warned_of(prior: Prior, clean: list[Tensor], calibration: Calibration, generator: torch.Generator) -> dict:
    """Share of the crops with noise of each odd kind, level found, of which a line warns; and what intervals hold."""
    found = {}
    for noise in ODD:
        warned, total = 0, 0
        for i, (x, _, _) in enumerate(crops(clean, 1, generator)):
            if i % 4 not in (0, 3):
                continue  # every second picture in colour, the others in grey
            row = answer(prior, x, noise(x, 25 / 255, generator), None, generator)
            total += 1
            warned += row is None or bool(row.line or calibration.warnings(row.found))
        found[noise.__name__] = [warned, total]
        print(noise.__name__, found[noise.__name__], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="photo", help="name in the zoo or folder")
    parser.add_argument(
        "--save", action="store_true", help="write the calibrations beside the weights, and the results"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    prior = vqfusion.load(options.model, "cpu")
    assert isinstance(prior, Prior) and prior.folder is not None
    generator = torch.Generator().manual_seed(SEED)
    clean = pictures()
    made = {part: answers(prior, rows, EACH[part], generator) for part, rows in clean.items()}
    print({part: len(rows) for part, rows in made.items()}, flush=True)
    residuals = torch.cat([row.truth - row.mean for row in made["fit"]])
    band = ResidualBand.fit(torch.cat([row.features for row in made["fit"]]), residuals, steps=800, seed=SEED)
    found = [row.found for row in made["calibrate"]]
    report: dict = {"model": options.model, "seed": SEED, "crops_of_each_picture": EACH, "rows": []}
    for coverage in COVERAGES:
        for used in (band, None):
            *parts, groups, classes = ends(made["calibrate"], used)
            calibration = Calibration.fit(
                *parts, groups, coverage=coverage, found=found, band=used, classes=classes
            )  # fmt: skip
            for part in ("photographs", "scikit-image", "kodak24"):
                for row in measured(calibration, made[part], used) if made[part] else ():
                    kind = "band" if used else "one width for each region and level"
                    report["rows"].append({"asked": coverage, "intervals": kind, "data": part} | row)
                    print(report["rows"][-1], flush=True)
            if used is None:
                continue
            if coverage == 0.9:
                report["warned_of_odd_noise"] = warned_of(prior, clean["photographs"], calibration, generator)
            held = {
                row["group"]: row["held"]
                for row in report["rows"]
                if row["asked"] == coverage and row["data"] == "photographs"
            }
            held[EVERYTHING] = sum(held.values()) / 2
            on = f"{len(clean['photographs'])} photographs that nothing was fitted to, noise of 5 to 60 / 255"
            if options.save:
                ShippedIntervals(calibration, held, on).save(prior.folder, "denoise")
    report["processor_seconds"] = round(time.process_time() - start)
    print(report["processor_seconds"], "processor seconds")
    if options.save:
        RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
