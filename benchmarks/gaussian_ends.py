"""Bits per dimension of a VQ-VAE with Gaussian ends against a plain one, on scikit-learn's 8 x 8 digits.

Same encoder, codes, decoder, steps and batches; three seeds; measured on digits that are not in training.

    python benchmarks/gaussian_ends.py   # about a minute on one core
"""

import json
import math
import statistics
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion import VQVAE, GaussianVQVAE, bits_per_dim, open_dataset
from vqfusion.config import VQVAEConfig

RESULT = Path(__file__).parent / "results" / "gaussian_ends.json"
CONFIG = VQVAEConfig(channels=1, widths=(32, 64), depths=(1, 1), codebook_size=64, dim=16)
STEPS, BATCH, RATE, WARM_UP, SEEDS = 200, 64, 2e-3, 20, 3


def digits(split: str) -> Tensor:
    records = open_dataset("digits").select(split=split)
    return torch.stack([record.load("image").data for record in records]) * 2 - 1


def loss(model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    if isinstance(model, GaussianVQVAE):
        return model.loss(x, generator)[0]
    out = model(x)
    return F.mse_loss(out.signal, x) + out.codes.loss


def train(model: nn.Module, data: Tensor, seed: int) -> nn.Module:
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95))
    generator = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        chosen = torch.randint(len(data), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss(model, data[chosen], generator).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.quantizer.update()
    return model.eval()


def main() -> None:
    train_part, test_part = digits("train"), digits("test")
    kinds = {
        "plain": lambda: VQVAE(CONFIG),
        "gaussian, beta 0": lambda: GaussianVQVAE(CONFIG, beta=0.0),
        "gaussian, beta 0.5": lambda: GaussianVQVAE(CONFIG),
    }
    result: dict[str, dict] = {}
    for name, make in kinds.items():
        bits, decibels = [], []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = train(make(), train_part, seed)
            error = (model.decode(model.encode(test_part)) - test_part).square().mean()
            bits.append(round(float(bits_per_dim(model, test_part).mean()), 4))
            decibels.append(round(float(-10 * (error / 4).log10()), 2))
        result[name] = {
            "bits_per_dim": bits,
            "mean": round(statistics.mean(bits), 3),
            "psnr_of_mean_error_db": decibels,
        }
        print(name, result[name], flush=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
