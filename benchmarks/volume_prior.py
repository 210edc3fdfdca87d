"""The shipped volume prior on the middle 64 x 64 x 64 voxels of MNI152, in the slab that it never saw: noise of 0.1.

Values in [0, 1] (of the largest of the volume). Total variation and non-local means get the best of a few strengths
on the test crop itself, the prior gets nothing. The crop is from the average of 152 brains: one brain, the same of
which the prior saw what lies below and above.

    PYTHONPATH=where/nilearn/is python benchmarks/volume_prior.py --model volume
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
from vqfusion.models.restoration.mirrored import MirroredPrior

SIDE = 64
RESULT = Path(__file__).parent / "results" / "volume_prior.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="volume", help="name of the zoo or folder")
    parser.add_argument("--sigma", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import vqfusion

    prior, sigma = vqfusion.load(arguments.model, "cpu"), arguments.sigma
    slab = open_dataset("mni152").select(split="test")[0].load("volume").data
    corner = [(n - SIDE) // 2 for n in slab.shape[1:]]
    clean = slab[(0, *(slice(a, a + SIDE) for a in corner))]
    noisy = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(arguments.seed))
    given, truth = noisy.numpy(), clean.numpy()
    with torch.no_grad():
        answers: dict[str, Any] = {
            "noisy": given,
            "noisy, clipped": given.clip(0, 1),
            "prior, blind": prior.denoise(noisy[None, None])[0, 0].numpy(),
            "prior, told": prior.denoise(noisy[None, None], sigma)[0, 0].numpy(),
            "prior, told, 8 mirrored copies": MirroredPrior(prior).denoise(noisy[None, None], sigma)[0, 0].numpy(),
            "prior, told, noise clipped": prior.denoise(noisy[None, None].clamp(0, 1), sigma)[0, 0].numpy(),
        }
    for weight in (0.05, 0.1, 0.15):
        answers[f"total variation, weight {weight}"] = denoise_tv_chambolle(given, weight=weight)
    for h in (0.6, 0.8, 1.0):
        answers[f"nl means, h {h} sigma"] = denoise_nl_means(
            given, patch_size=3, patch_distance=4, h=h * sigma, sigma=sigma, fast_mode=True
        )
    rows = {}
    for name, answer in answers.items():
        answer = answer.astype(np.float32) if name == "noisy" else answer.clip(0, 1).astype(np.float32)
        psnr = float(peak_signal_noise_ratio(truth, answer, data_range=1.0))
        rows[name] = {
            "psnr": round(psnr, 3),
            "ssim": round(float(structural_similarity(truth, answer, data_range=1.0)), 4),
        }
        print(f"{name:32} {psnr:.2f} dB")
    arguments.output.parent.mkdir(exist_ok=True)
    report = {"model": arguments.model, "sigma": sigma, "seed": arguments.seed, "methods": rows}
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
