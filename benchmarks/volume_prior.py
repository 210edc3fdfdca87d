"""The shipped volume prior on slabs of heads that it never saw, beside total variation and non-local means.

The middle 64 x 64 x 64 voxels of the average of 152 brains (MNI152) and of one person, whose slices below and above
were learned from; the second also with pairs of slices averaged. Values in [0, 1] (of the largest of the volume), white
noise. Total variation and non-local means get the best of a few strengths on the test crop itself, the prior gets
nothing.

    VQFUSION_DATA=DIR PYTHONPATH=where/nilearn/is python benchmarks/volume_prior.py --model volume
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from vqfusion.data import open_dataset
from vqfusion.data.brains import thicker
from vqfusion.models.restoration.mirrored import MirroredPrior

SIDE, SIGMAS = 64, (0.05, 0.1)
RESULT = Path(__file__).parent / "results" / "volume_prior.json"


def answers_to(prior: Any, noisy: torch.Tensor, sigma: float) -> dict[str, np.ndarray]:
    """Every method's answer to noisy voxels `[D, H, W]`."""
    given = noisy.numpy()
    with torch.no_grad():
        answers = {
            "noisy, clipped": given.clip(0, 1),
            "prior, blind": prior.denoise(noisy[None, None])[0, 0].numpy(),
            "prior, told": prior.denoise(noisy[None, None], sigma)[0, 0].numpy(),
            "prior, told, 8 mirrored copies": MirroredPrior(prior).denoise(noisy[None, None], sigma)[0, 0].numpy(),
            "prior, told, noise clipped": prior.denoise(noisy[None, None].clamp(0, 1), sigma)[0, 0].numpy(),
        }
    for weight in (0.5, 1.0, 1.5):
        answers[f"total variation, {weight} sigma"] = denoise_tv_chambolle(given, weight=weight * sigma)
    for h in (0.6, 0.8, 1.0):
        answers[f"nl means, h {h} sigma"] = denoise_nl_means(
            given, patch_size=3, patch_distance=4, h=h * sigma, sigma=sigma, fast_mode=True
        )
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="volume", help="name of the zoo or folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import vqfusion

    prior = vqfusion.load(arguments.model, "cpu")
    slabs = {record.key: record.load("volume").data for record in open_dataset("brains").select(split="test")}
    slabs["person-slab, pairs of slices"] = thicker(slabs["person-slab"], 0, 2)
    report: dict[str, Any] = {"model": arguments.model, "seed": arguments.seed, "psnr_db": {}, "ssim": {}}
    for name, slab in slabs.items():
        corner = [max(0, (n - SIDE) // 2) for n in slab.shape[1:]]
        clean = slab[(0, *(slice(a, a + SIDE) for a in corner))]
        for sigma in SIGMAS:
            noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(arguments.seed))
            rows, alike = {}, {}
            for method, answer in answers_to(prior, clean + sigma * noise, sigma).items():
                answer = answer.clip(0, 1).astype(np.float32)
                rows[method] = round(float(peak_signal_noise_ratio(clean.numpy(), answer, data_range=1.0)), 3)
                alike[method] = round(float(structural_similarity(clean.numpy(), answer, data_range=1.0)), 4)
                print(f"{name}, noise {sigma}: {method:32} {rows[method]:.2f} dB", flush=True)
            report["psnr_db"][f"{name}, {sigma}"], report["ssim"][f"{name}, {sigma}"] = rows, alike
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
