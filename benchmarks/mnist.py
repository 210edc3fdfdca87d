"""The headline of the codes: MNIST digits, padded to 32 x 32, as 8 x 8 codes of 512.

Encoder and decoder work at 8 x 8 throughout: blocks of 4 x 4 pixels become channels, residual blocks of a convolution
and of a layer over all 64 positions follow, so that a position on empty paper can carry what a busy one has no room
for. A linear path of the principal components of the blocks goes past them on both sides. The quantizer is one of the
registry. A stopped training goes on where it was.

    python benchmarks/mnist.py --keep runs/mnist                   # trains and measures the test digits once
    python benchmarks/mnist.py --holdout --steps 600 --rate 2e-3   # a short run to choose by, on a tenth of training
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common.pictures32 import load
from features import feature_network
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.config import StageConfig
from vqfusion.evaluate.frechet import frechet_distance
from vqfusion.evaluate.metrics import psnr
from vqfusion.nn.blocks import group_norm
from vqfusion.tokenizers.quantizers import QUANTIZERS
from vqfusion.train.chain import make_accelerator
from vqfusion.train.loop import fit
from vqfusion.train.sources import share, step_generator

RESULT = Path(__file__).parent / "results" / "mnist.json"
PIXELS = 16  # of a block of 4 x 4, which becomes one code
POSITIONS = 64


class Block(nn.Module):
    """A layer over all positions (Tolstikhin et al., 2021, "MLP-Mixer"), then a convolution, on a residual path."""

    def __init__(self, width: int, mixing: int, blocks: int):
        super().__init__()
        self.norm_mixing, self.norm_convolution = group_norm(width), group_norm(width)
        self.mix_in, self.mix_out = nn.Linear(POSITIONS, mixing), nn.Linear(mixing, POSITIONS)
        self.convolution, self.pointwise = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 1)
        nn.init.normal_(self.mix_out.weight, std=0.3 * (2 * blocks * mixing) ** -0.5)
        nn.init.normal_(self.pointwise.weight, std=0.3 * (2 * blocks * width) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix_out(F.gelu(self.mix_in(self.norm_mixing(x).flatten(2))))
        x = x + mixed.unflatten(2, (8, 8))
        return x + self.pointwise(F.silu(self.convolution(F.silu(self.norm_convolution(x)))))


class Codec(nn.Module):
    """Pictures `[B, 1, 32, 32]` in [0, 1] to codes `[B, 8, 8]` and back; `blocks` on each side."""

    def __init__(self, quantizer: nn.Module, width: int, mixing: int, blocks: int, pictures: Tensor):
        super().__init__()
        self.quantizer, dim = quantizer, quantizer.dim
        self.place_in, self.place_out = (nn.Parameter(torch.zeros(width, 8, 8)) for _ in range(2))
        self.read, self.write = nn.Conv2d(PIXELS, width, 3, padding=1), nn.Conv2d(width, PIXELS, 3, padding=1)
        self.before = nn.Sequential(*(Block(width, mixing, blocks) for _ in range(blocks)), group_norm(width))
        self.after = nn.Sequential(*(Block(width, mixing, blocks) for _ in range(blocks)), group_norm(width))
        self.down, self.up = nn.Conv2d(width, dim, 1), nn.Conv2d(dim, width, 1)
        self.linear_in, self.linear_out = nn.Conv2d(PIXELS, dim, 1), nn.Conv2d(dim, PIXELS, 1)
        self._start(F.pixel_unshuffle(pictures * 2 - 1, 4).movedim(1, -1).reshape(-1, PIXELS))

    @torch.no_grad()
    def _start(self, blocks: Tensor) -> None:
        """The linear path starts with the principal components of blocks of pixels, the rest at a tenth."""
        mean = blocks.mean(0)
        axes = torch.linalg.eigh((blocks - mean).T.cov()).eigenvectors.flip(1)[:, : self.quantizer.dim]
        self.linear_in.weight.copy_(axes.T[:, :, None, None])
        self.linear_in.bias.copy_(-axes.T @ mean)
        self.linear_out.weight.copy_(axes[:, :, None, None])
        self.linear_out.bias.copy_(mean)
        for last in (self.down, self.write):
            last.weight.mul_(0.1)
            last.bias.zero_()

    def latents(self, pictures: Tensor) -> Tensor:
        x = F.pixel_unshuffle(pictures * 2 - 1, 4)
        return (self.down(self.before(self.read(x) + self.place_in)) + self.linear_in(x)).float()

    def picture(self, codes: Tensor) -> Tensor:
        """In [-1, 1], not clamped."""
        return F.pixel_shuffle(self.write(self.after(self.up(codes) + self.place_out)) + self.linear_out(codes), 4)

    def loss(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        codes = self.quantizer(self.latents(pictures))
        mse = F.mse_loss(self.picture(codes.quantized).float(), pictures * 2 - 1)
        report = {"psnr_db": -10 * (mse.detach() / 4).log10(), "perplexity": codes.perplexity, "usage": codes.usage}
        return mse + codes.loss, report


def quantizer(name: str, dim: int, decay: float, options: dict[str, Any]) -> nn.Module:
    kind = QUANTIZERS[name]
    shape = {"codebook_size": 512, "dim": dim, "decay": decay, "levels": (8, 8, 8)}
    return kind(**{key: shape[key] for key in kind.config_keys}, channel_first=True, **options)


@torch.no_grad()
def measure(model: Codec, pictures: Tensor) -> dict[str, float]:
    """Both means of the PSNR, Fréchet distance, and what the codes are used for."""
    indices, backs = [], []
    for part in pictures.split(250):
        codes = model.quantizer(model.latents(part))
        indices.append(codes.indices.flatten())
        backs.append((model.picture(codes.quantized) / 2 + 0.5).clamp(0, 1))
    back, network = torch.cat(backs), feature_network("mnist")
    real, made = (torch.cat([network.features(part) for part in side.split(250)]) for side in (pictures, back))
    counts = torch.bincount(torch.cat(indices), minlength=512).double()
    return {
        "pictures": len(pictures),
        "psnr_mean_over_pictures_db": round(float(psnr(back, pictures).mean()), 3),
        "psnr_of_mean_error_db": round(float(-10 * (back - pictures).square().mean().log10()), 3),
        "frechet": round(frechet_distance(real, made), 5),
        "perplexity": round(float(torch.special.entr(counts / counts.sum()).sum().exp()), 1),
        "usage": round(float((counts > 0).double().mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--mixing", type=int, default=64, help="hidden width of the layer over positions")
    parser.add_argument("--blocks", type=int, default=4, help="on each side")
    parser.add_argument("--quantizer", default="vq", choices=list(QUANTIZERS))
    parser.add_argument("--options", type=json.loads, default={}, help="further arguments of the quantizer, as JSON")
    parser.add_argument("--dim", type=int, default=8)
    parser.add_argument("--decay", type=float, default=0.98)
    parser.add_argument("--rate", type=float, default=5e-3, help="learning rate")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the checkpoints")
    parser.add_argument("--holdout", action="store_true", help="measure on a tenth of training, and keep no result")
    args = parser.parse_args()
    data = load("mnist")
    torch.manual_seed(args.seed)
    made = quantizer(args.quantizer, args.dim, args.decay, args.options)
    model = Codec(made, args.width, args.mixing, args.blocks, data.train[:2000])
    stage = StageConfig(steps=args.steps, batch=args.batch, learning_rate=args.rate)

    def batches(step: int, rank: int, processes: int) -> Tensor:
        generator = step_generator(args.seed, step)
        chosen = torch.randint(len(data.train), (args.batch,), generator=generator).tolist()
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        return data.train[torch.tensor(share(chosen, rank, processes))].roll((down, right), (2, 3))

    settings = {k: v for k, v in vars(args).items() if k not in ("keep", "holdout")}
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit(model, batches, stage, args.keep or Path(folder), str(settings), make_accelerator("cpu"), show=False)
    seconds = time.process_time() - started
    result = {
        **settings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_ms_per_step": round(1000 * seconds / args.steps, 1),
        "holdout": measure(model, data.holdout),
    }
    if not args.holdout:
        result["train"] = measure(model, data.train)
        result["test"] = measure(model, data.test)
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
