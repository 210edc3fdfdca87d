"""Error bars of the shipped photo prior: fitted and calibrated, then measured on pictures that neither saw.

Noise of 5 to 60 / 255, clipped and rounded to 8 bits as files are; the level is told for one half of the crops and
estimated for the other. The band learns on photographs that the prior was trained on, conformal calibration on kept
ones; what it holds is measured on other kept photographs and on the natural colour pictures of scikit-image. The same
crops in grey are a group of their own. Needs the `photos` data (docs/zoo/priors.md).

    python benchmarks/photo_intervals.py --save      # about a minute on a free core
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import vqfusion
from vqfusion.data.photos import open_photos
from vqfusion.data.transforms import resize_picture
from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.diffusion.operators import Denoise
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.intervals import EVERYTHING, Calibration, coverage_by_group, statistics
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.residual_band import ResidualBand, local_features
from vqfusion.models.restoration.shipped_intervals import ShippedIntervals

CROP, LONGEST, SEED = 160, 900, 0
CROPS = {"fit": 40, "calibrate": 48, "photographs": 24, "scikit-image": 25}
COVERAGES = (0.8, 0.9, 0.95)
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
RESULT = Path(__file__).parent / "results" / "photo_intervals.json"


def pictures() -> dict[str, list[Tensor]]:
    """Clean pictures of each part; kept photographs are shared out by their order in the list."""
    records = open_photos().records
    known = [record for record in records if record.split == "train"]
    kept = [record for record in records if record.split != "train"]
    chosen = {"fit": known[::4], "calibrate": kept[::3] + kept[1::3], "photographs": kept[2::3]}
    found = {part: [small(record.load("image").data) for record in rows] for part, rows in chosen.items()}
    from skimage import data

    loaded = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.stereo_motorcycle()[0]]
    found["scikit-image"] = [torch.from_numpy(one[..., :3]).permute(2, 0, 1).float() / 255 for one in loaded]
    return {part: [one for one in rows if min(one.shape[1:]) >= CROP] for part, rows in found.items()}


def small(picture: Tensor) -> Tensor:
    height, width = picture.shape[1:]
    factor = min(1.0, LONGEST / max(height, width))
    return resize_picture(picture, (round(height * factor), round(width * factor)))


def crops(clean: list[Tensor], count: int, generator: torch.Generator) -> Iterator[tuple[Tensor, float, bool]]:
    """Crops `[1, C, CROP, CROP]`, their noise levels, and whether these are told; every one in colour and in grey."""
    for i in range(count):
        picture = clean[i % len(clean)]
        top, left = (int(torch.randint(n - CROP + 1, (1,), generator=generator)) for n in picture.shape[1:])
        place = (i + float(torch.rand(1, generator=generator))) / count
        sigma = (5 / 255) * 12 ** ((place * 7) % 1)
        crop = picture[None, :, top : top + CROP, left : left + CROP]
        yield crop, sigma, i % 2 == 0
        yield (crop * LUMA).sum(1, keepdim=True), sigma, i % 2 == 0


def answers(prior: Prior, clean: list[Tensor], count: int, generator: torch.Generator) -> list[dict]:
    rows = []
    for x, sigma, told in crops(clean, count, generator):
        noise = torch.randn(x.shape, generator=generator)
        y = ((x + sigma * noise).clamp(0, 1) * 255).round() / 255
        level = torch.tensor([sigma]) if told else estimate_noise(y)
        mean = AnySizePrior(prior, x.shape[1]).denoise(y, level)
        group = "grey" if x.shape[1] == 1 else "colour"
        rows.append({"x": x, "y": y, "mean": mean, "level": level, "group": group})
    return rows


def spread(rows: list[dict], band: ResidualBand) -> tuple[Tensor, Tensor, Tensor, list[str]]:
    """Lower and upper ends, truths `[N, CROP * CROP]` (of colour every third value), and groups."""
    ends = []
    for row in rows:
        half = band(row["mean"], row["y"], row["level"])
        step = row["x"].shape[1]
        ends.append([t.flatten()[::step] for t in (row["mean"] - half, row["mean"] + half, row["x"])])
    lower, upper, truth = (torch.stack([one[k] for one in ends]) for k in range(3))
    return lower, upper, truth, [row["group"] for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="photo", help="name in the zoo or folder")
    parser.add_argument(
        "--save", action="store_true", help="write the calibrations beside the weights, and the results"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    prior = vqfusion.load(options.model, "cpu")
    assert isinstance(prior, Prior) and prior.folder is not None
    generator = torch.Generator().manual_seed(SEED)
    made = {part: answers(prior, clean, CROPS[part], generator) for part, clean in pictures().items()}
    print({part: len(rows) for part, rows in made.items()}, flush=True)
    features, residuals = [], []
    for row in made["fit"]:
        own = local_features(row["mean"], row["y"], row["level"])
        features.append(own.reshape(-1, own.shape[-1])[:: 2 * row["x"].shape[1]])
        residuals.append((row["x"] - row["mean"]).flatten()[:: 2 * row["x"].shape[1]])
    band = ResidualBand.fit(torch.cat(features), torch.cat(residuals), seed=SEED)
    found = [statistics(row["y"], row["mean"], Denoise(0.1), row["level"])[0] for row in made["calibrate"]]
    report: dict = {"model": options.model, "seed": SEED, "crops": CROPS, "rows": []}
    for coverage in COVERAGES:
        lower, upper, truth, groups = spread(made["calibrate"], band)
        calibration = Calibration.fit(lower, upper, truth, groups, coverage=coverage, found=found, band=band)
        held = {}
        for part in ("photographs", "scikit-image"):
            lower, upper, truth, groups = spread(made[part], band)
            for group in ("colour", "grey"):
                own = [i for i, name in enumerate(groups) if name == group]
                ends = calibration.apply(lower[own], upper[own], group=group)
                result = coverage_by_group(*ends, truth[own])[EVERYTHING]
                warned = sum(
                    bool(calibration.warnings(statistics(row["y"], row["mean"], Denoise(0.1), row["level"])[0]))
                    for row in (made[part][i] for i in own)
                )
                held[part, group] = result.share
                report["rows"].append(
                    {"asked": coverage, "data": part, "group": group, "held": round(result.share, 4),
                     "width_255": round(255 * result.width, 2), "crops": len(own), "warned": warned}
                )  # fmt: skip
                print(report["rows"][-1], flush=True)
        measured = {group: held["scikit-image", group] for group in ("colour", "grey")}
        measured[EVERYTHING] = sum(measured.values()) / 2
        shipped = ShippedIntervals(
            calibration, measured, "the natural pictures of scikit-image, noise of 5 to 60 / 255"
        )
        if options.save:
            shipped.save(prior.folder, "denoise")
    if options.save:
        RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
