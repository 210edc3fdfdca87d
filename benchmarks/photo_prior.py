"""The shipped photo prior on the natural colour pictures of scikit-image, which it never saw: noise of 25 / 255.

Noise from a seed for each picture, not clipped; answers clipped to [0, 1]; PSNR for unit peak over all channels, SSIM
with Gaussian windows (sigma 1.5), both as means over pictures. Non-local means knows the level and gets the best of
three strengths; BM3D (for non-commercial use, so benchmarks only) is added where the package `bm3d` is installed.

    python benchmarks/photo_prior.py --model photo --sigma 25
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data as pictures_of
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_nl_means

from vqfusion.models.restoration.mirrored import MirroredPrior
from vqfusion.models.restoration.prior import Prior

NAMES = ("astronaut", "chelsea", "coffee", "rocket", "stereo_motorcycle")
RESULT = Path(__file__).parent / "results" / "photo_prior.json"


def picture(name: str) -> np.ndarray:
    """A colour picture `[H, W, 3]` in [0, 1]; of the pair the left one."""
    loaded = getattr(pictures_of, name)()
    return np.asarray(loaded[0] if isinstance(loaded, tuple) else loaded)[..., :3].astype(np.float32) / 255


def by_prior(prior: Prior | MirroredPrior, noisy: np.ndarray, sigma: float | None) -> np.ndarray:
    x = torch.from_numpy(noisy.transpose(2, 0, 1))[None]
    with torch.no_grad():
        return prior.denoise(x, sigma)[0].permute(1, 2, 0).numpy()


def by_nl_means(noisy: np.ndarray, sigma: float, strength: float) -> np.ndarray:
    return denoise_nl_means(
        noisy, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
    )


def scores(clean: np.ndarray, answer: np.ndarray) -> tuple[float, float]:
    answer = answer.clip(0, 1).astype(np.float32)
    ssim = structural_similarity(
        clean, answer, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(peak_signal_noise_ratio(clean, answer, data_range=1.0)), float(ssim)


def stored(path: Path, sigma: float, seed: int) -> dict[str, Any]:
    """The rows of baselines that were written for the same noise."""
    report = json.loads(path.read_text()) if path.exists() else {}
    same = (report.get("sigma"), report.get("seed")) == (sigma, seed)
    return {name: row for name, row in report["methods"].items() if not name.startswith("prior")} if same else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="photo", help="name of the zoo or folder")
    parser.add_argument("--sigma", type=float, default=25, help="of 255")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bm3d", action="store_true", help="also BM3D, which must be installed")
    parser.add_argument("--keep", action="store_true", help="take the rows of baselines from the output file")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import vqfusion

    prior = vqfusion.load(arguments.model, "cpu")
    sigma = arguments.sigma / 255
    methods: dict[str, Any] = {
        "noisy": lambda y: y,
        "prior, blind": lambda y: by_prior(prior, y, None),
        "prior, told": lambda y: by_prior(prior, y, sigma),
        "prior, told, self-ensemble": lambda y: by_prior(MirroredPrior(prior), y, sigma),
        **{f"nl means, h {h} sigma": lambda y, h=h: by_nl_means(y, sigma, h) for h in (0.4, 0.6, 0.8)},
    }
    if arguments.bm3d:
        from bm3d import bm3d_rgb

        methods["bm3d"] = lambda y: bm3d_rgb(y.astype(np.float64), sigma)
    kept = stored(arguments.output, arguments.sigma, arguments.seed) if arguments.keep else {}
    methods = {name: run for name, run in methods.items() if name not in kept}
    rows: dict[str, Any] = {name: {"psnr": {}, "ssim": {}, "seconds": {}} for name in methods} | kept
    for index, name in enumerate(NAMES):
        clean = picture(name)
        noise = np.random.default_rng(arguments.seed + index).standard_normal(clean.shape).astype(np.float32)
        noisy = clean + sigma * noise
        for method, run in methods.items():
            started = time.process_time()
            answer = run(noisy)
            rows[method]["seconds"][name] = round(time.process_time() - started, 2)
            psnr, ssim = scores(clean, answer)
            rows[method]["psnr"][name], rows[method]["ssim"][name] = round(psnr, 3), round(ssim, 4)
    for method, row in sorted(rows.items()):
        row["mean_psnr"] = round(float(np.mean(list(row["psnr"].values()))), 3)
        row["mean_ssim"] = round(float(np.mean(list(row["ssim"].values()))), 4)
        print(f"{method:24} {row['mean_psnr']:.2f} dB  {row['mean_ssim']:.3f}")
    arguments.output.parent.mkdir(exist_ok=True)
    report = {"model": arguments.model, "sigma": arguments.sigma, "seed": arguments.seed, "methods": rows}
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
