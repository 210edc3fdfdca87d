"""The photo prior on the test sets of the literature, in colour and in grey: Kodak24 and Set12.

Noise of numpy, seed 0 for each picture, not clipped; answers rounded to 8 bits; PSNR over all channels, means over
pictures. "blind" is the network that is not told the level, "by itself" what `restore` does without one. Set12 with
50 % and 80 % of the pixels lost (seed i for picture i) as `restore` fills them, and Kodak24 stored as JPEG (Pillow,
halved colours), PSNR of Y, by the blind network. Several models are several columns.

    VQFUSION_DATA=... python benchmarks/photo_sets.py photo runs/before
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import vqfusion
from vqfusion.data.standard import grey_pictures
from vqfusion.diffusion.noise import seeded
from vqfusion.diffusion.operators import Denoise, Mask
from vqfusion.diffusion.operators.random import random_elements
from vqfusion.models.restoration.any_size import AnySizePrior
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.restoring import restore

RESULT = Path(__file__).parent / "results" / "photo_sets.json"
SIGMAS, LOST, QUALITIES = (15, 25, 50), (0.8, 0.5), (10, 20)
LUMINANCE = torch.tensor([65.481, 128.553, 24.966])[:, None, None] / 255


def pictures(name: str, mode: str) -> list[Tensor]:
    """Pictures `[1, C, H, W]` in [0, 1]; mode "RGB" or "L"."""
    loaded = [np.atleast_3d(np.asarray(Image.open(path).convert(mode))) for path in grey_pictures(name)]
    return [torch.from_numpy(one.astype(np.float32) / 255).permute(2, 0, 1)[None] for one in loaded]


def noisy(x: Tensor, sigma: int) -> Tensor:
    noise = np.random.RandomState(0).normal(0, sigma / 255, x.shape[2:] + x.shape[1:2]).astype(np.float32)
    return x + torch.from_numpy(noise).permute(2, 0, 1)


def stored(x: Tensor, quality: int) -> Tensor:
    """A picture as JPEG holds it."""
    file = io.BytesIO()
    Image.fromarray((x[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(file)).astype(np.float32) / 255).permute(2, 0, 1)[None]


def psnr(made: Tensor, truth: Tensor, luminance: bool = False) -> float:
    made = (made.clamp(0, 1) * 255).round() / 255
    error = made - truth
    error = (error * LUMINANCE).sum(1) if luminance else error
    return float(-10 * error.square().mean().log10())


def rows(prior: Prior) -> dict[str, Callable[[], list[float]]]:
    """What is measured, by name: PSNR of each picture."""
    colour, grey = pictures("kodak24", "RGB"), pictures("set12", "L")
    in_grey = AnySizePrior(prior, 1)
    found: dict[str, Callable[[], list[float]]] = {}
    for sigma in SIGMAS:
        level = sigma / 255
        found[f"kodak24 {sigma}, told"] = lambda s=sigma, n=level: [
            psnr(prior.denoise(noisy(x, s), n), x) for x in colour
        ]
        found[f"kodak24 {sigma}, blind"] = lambda s=sigma: [psnr(prior.denoise(noisy(x, s)), x) for x in colour]
        found[f"set12 {sigma}, told"] = lambda s=sigma, n=level: [
            psnr(in_grey.denoise(noisy(x, s), n), x) for x in grey
        ]
        found[f"set12 {sigma}, by itself"] = lambda s=sigma: [
            psnr(restore(in_grey, noisy(x, s), Denoise()).mean, x) for x in grey
        ]
        if "grey" in prior.config.learned:
            found[f"set12 {sigma}, blind"] = lambda s=sigma: [
                psnr(prior.denoise(noisy(x, s).expand(-1, 3, -1, -1)).mean(1, keepdim=True), x) for x in grey
            ]
    for lost in LOST:
        masks = [random_elements(x.shape[2:], lost, g) for x, g in zip(grey, seeded(0, len(grey)), strict=True)]
        found[f"set12, {lost:.0%} lost"] = lambda masks=masks: [
            psnr(restore(in_grey, x * m, Mask(m)).mean, x) for x, m in zip(grey, masks, strict=True)
        ]
    for quality in QUALITIES:
        found[f"kodak24 JPEG {quality}, Y, file"] = lambda q=quality: [psnr(stored(x, q), x, True) for x in colour]
        found[f"kodak24 JPEG {quality}, Y, blind"] = lambda q=quality: [
            psnr(prior.denoise(stored(x, q)), x, True) for x in colour
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="names of the zoo or folders")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for model in arguments.models:
        prior = vqfusion.load(model, "cpu")
        for name, measure in rows(prior).items():
            started = time.process_time()
            with torch.no_grad():
                score = round(float(np.mean(measure())), 3)
            report.setdefault(name, {})[Path(model).name] = score
            print(f"{name:28} {Path(model).name:10} {score:7.3f}  {time.process_time() - started:5.1f} s", flush=True)
            arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
