"""The headline of the codes: MNIST digits, padded to 32 x 32, as 8 x 8 codes of 512.

Encoder and decoder work on the 64 blocks of 4 x 4 pixels throughout: layers over all positions, so that a position on
empty paper can carry what a busy one has no room for, alternate with layers over channels (Tolstikhin et al., 2021,
"MLP-Mixer"), trained by Muon. A linear path of the principal components of the blocks goes past them on both sides.
Pixels that are clamped to black or white anyway count no error beyond it. A bonus for the entropy of the codes of a
batch, softly assigned, keeps all of them in use. The quantizer is one of the registry. The test digits are measured
with the nearest codes and with those that `search_codes` finds. A stopped training goes on where it was.

    python benchmarks/mnist.py --keep runs/mnist                   # trains and measures the test digits once
    python benchmarks/mnist.py --holdout --steps 600               # a short run to choose by, on a tenth of training
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
from vqfusion.tokenizers.quantizers import QUANTIZERS
from vqfusion.tokenizers.search import search_codes
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.steps import share, step_generator

RESULT = Path(__file__).parent / "results" / "mnist.json"
PIXELS = 16  # of a block of 4 x 4, which becomes one code
POSITIONS = 64
WORST = 0.005  # error up to which the bonus for entropy grows with it: 29 dB; above, it would drown the pictures


class Block(nn.Module):
    """A layer over all positions, then one over channels, each on a residual path."""

    def __init__(self, width: int, mixing: int, hidden: int, blocks: int):
        super().__init__()
        self.norm_positions, self.norm_channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.positions_in, self.positions_out = nn.Linear(POSITIONS, mixing), nn.Linear(mixing, POSITIONS)
        self.channels_in, self.channels_out = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for last in (self.positions_out, self.channels_out):
            nn.init.normal_(last.weight, std=0.3 * (2 * blocks * last.in_features) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.positions_out(F.gelu(self.positions_in(self.norm_positions(x).transpose(1, 2))))
        x = x + mixed.transpose(1, 2)
        return x + self.channels_out(F.gelu(self.channels_in(self.norm_channels(x))))


class Codec(nn.Module):
    """Pictures `[B, 1, 32, 32]` in [0, 1] to codes `[B, 8, 8]` and back; `blocks` on each side."""

    def __init__(
        self, quantizer: nn.Module, width: int, mixing: int, hidden: int, blocks: int, spread: float, pictures: Tensor
    ):
        super().__init__()
        self.quantizer, self.spread, dim = quantizer, spread, quantizer.dim
        self.place_in, self.place_out = (nn.Parameter(0.02 * torch.randn(POSITIONS, width)) for _ in range(2))
        self.read, self.write = nn.Linear(PIXELS, width), nn.Linear(width, PIXELS)
        self.before, self.after = (
            nn.Sequential(*(Block(width, mixing, hidden, blocks) for _ in range(blocks)), nn.LayerNorm(width))
            for _ in range(2)
        )
        self.down, self.up = nn.Linear(width, dim), nn.Linear(dim, width)
        self.linear_in, self.linear_out = nn.Linear(PIXELS, dim), nn.Linear(dim, PIXELS)
        self._start(_blocks(pictures).reshape(-1, PIXELS))

    @torch.no_grad()
    def _start(self, blocks: Tensor) -> None:
        """The linear path starts with the principal components of blocks of pixels, the rest at a tenth."""
        mean = blocks.mean(0)
        axes = torch.linalg.eigh((blocks - mean).T.cov()).eigenvectors.flip(1)[:, : self.quantizer.dim]
        self.linear_in.weight.copy_(axes.T)
        self.linear_in.bias.copy_(-axes.T @ mean)
        self.linear_out.weight.copy_(axes)
        self.linear_out.bias.copy_(mean)
        for last in (self.down, self.write):
            last.weight.mul_(0.1)
            last.bias.zero_()

    def latents(self, pictures: Tensor) -> Tensor:
        x = _blocks(pictures)
        z = self.down(self.before(self.read(x) + self.place_in)) + self.linear_in(x)
        return z.float().transpose(1, 2).unflatten(2, (8, 8))

    def picture(self, codes: Tensor) -> Tensor:
        """In [-1, 1], not clamped."""
        z = codes.flatten(2).transpose(1, 2)
        blocks = self.write(self.after(self.up(z) + self.place_out)) + self.linear_out(z)
        return F.pixel_shuffle(blocks.transpose(1, 2).unflatten(2, (8, 8)), 4)

    def loss(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        z = self.latents(pictures)
        codes = self.quantizer(z)
        target = pictures * 2 - 1
        error = self.picture(codes.quantized).float() - target
        beyond = ((target <= -1) & (error < 0)) | ((target >= 1) & (error > 0))
        mse = error.masked_fill(beyond, 0.0).square().mean()
        report = {"psnr_db": -10 * (mse.detach() / 4).log10(), "perplexity": codes.perplexity, "usage": codes.usage}
        worth = self.spread * mse.detach().clamp(max=WORST)
        return mse + codes.loss - worth * self._entropy(z), report

    def _entropy(self, z: Tensor) -> Tensor:
        """Entropy, in nats, of the codes of a batch, assigned softly at the scale of the distance to the nearest.

        A third of the positions, others in every picture.
        """
        codes = self.quantizer.lookup(torch.arange(self.quantizer.codebook_size)).detach()
        vectors = z.movedim(1, -1).reshape(-1, z.shape[1])[::3]
        far = torch.cdist(vectors, codes).square()
        scale = far.min(dim=1).values.mean().detach()
        return torch.special.entr((-far / scale).softmax(dim=1).mean(dim=0).clamp(min=1e-9)).sum()


def _blocks(pictures: Tensor) -> Tensor:
    """`[B, 64, 16]` in [-1, 1]."""
    return F.pixel_unshuffle(pictures * 2 - 1, 4).flatten(2).transpose(1, 2)


def quantizer(name: str, dim: int, decay: float, options: dict[str, Any]) -> nn.Module:
    kind = QUANTIZERS[name]
    shape = {"codebook_size": 512, "dim": dim, "decay": decay, "levels": (8, 8, 8)}
    return kind(**{key: shape[key] for key in kind.config_keys}, channel_first=True, **options)


@torch.no_grad()
def measure(model: Codec, pictures: Tensor, rounds: int = 0) -> dict[str, float]:
    """Both means of the PSNR, Fréchet distance, and what the codes are used for; after a search of so many rounds."""
    indices, backs = [], []

    def shown(codes: Tensor) -> Tensor:
        return (model.picture(codes) / 2 + 0.5).clamp(0, 1)

    for part in pictures.split(50):
        found = model.quantizer(model.latents(part)).indices
        found = search_codes(found, model.quantizer, lambda z, x=part: (shown(z) - x).square().mean((1, 2, 3)), rounds)
        indices.append(found.flatten())
        backs.append(shown(model.quantizer.indices_to_codes(found)))
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
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--mixing", type=int, default=128, help="hidden width of the layers over positions")
    parser.add_argument("--hidden", type=int, default=192, help="hidden width of the layers over channels")
    parser.add_argument("--blocks", type=int, default=4, help="on each side")
    parser.add_argument("--quantizer", default="vq", choices=list(QUANTIZERS))
    parser.add_argument("--options", type=json.loads, help="its arguments, as JSON; for vq DiVeQ by default")
    parser.add_argument("--dim", type=int, default=6)
    parser.add_argument("--decay", type=float, default=0.98)
    parser.add_argument("--rate", type=float, default=6e-3, help="learning rate")
    parser.add_argument("--spread", type=float, default=0.5, help="worth of a nat of entropy, in errors")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=24000)
    parser.add_argument("--search", type=int, default=200, help="rounds of search for the codes that are measured last")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the checkpoints")
    parser.add_argument("--holdout", action="store_true", help="measure on a tenth of training, and keep no result")
    args = parser.parse_args()
    if args.options is None:
        args.options = {"estimator": "diveq"} if args.quantizer == "vq" else {}
    data = load("mnist")
    torch.manual_seed(args.seed)
    made = quantizer(args.quantizer, args.dim, args.decay, args.options)
    model = Codec(made, args.width, args.mixing, args.hidden, args.blocks, args.spread, data.train[:2000])
    stage = StageConfig(optimizer="muon", steps=args.steps, batch=args.batch, learning_rate=args.rate)

    def batches(step: int, rank: int, processes: int) -> Tensor:
        generator = step_generator(args.seed, step)
        chosen = torch.randint(len(data.train), (args.batch,), generator=generator).tolist()
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        return data.train[torch.tensor(share(chosen, rank, processes))].roll((down, right), (2, 3))

    settings = {k: v for k, v in vars(args).items() if k not in ("keep", "holdout", "search")}
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit(model, batches, stage, args.keep or Path(folder), str(settings), make_accelerator("cpu"), show=False)
    seconds = time.process_time() - started
    result = {
        **settings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_ms_per_step": round(1000 * seconds / args.steps, 1),
        "search": args.search,
        "holdout": measure(model, data.holdout),
    }
    if args.holdout:
        result["holdout_searched"] = measure(model, data.holdout, args.search)
    else:
        result["train"] = measure(model, data.train)
        result["test"] = measure(model, data.test)
        result["test_searched"] = measure(model, data.test, args.search)
        RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
