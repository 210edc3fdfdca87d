"""A diffusion decoder against a plain one, for the same codes and with as many parameters.

A VQ-VAE is trained on pictures of 32 x 32 and its encoder and codes are kept as they are. Two decoders then learn to
make pictures of them in the same batches: a plain one, by squared error, and a small one with a diffusion around it
(`DiffusionModel`). Measured on test pictures: PSNR, and the Fréchet distance on the features of
`benchmarks/features.py`. Stopped trainings go on with `--keep`.

    python benchmarks/diffusion_decoder.py                 # Fashion-MNIST, about 8 minutes on one core
    python benchmarks/diffusion_decoder.py --set mnist
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common.pictures32 import Set32, load
from features import feature_network
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion import DiffusionModel, VectorQuantizer, VQVAEDecoder, VQVAEEncoder
from vqfusion.config import StageConfig
from vqfusion.evaluate.frechet import frechet_distance
from vqfusion.evaluate.metrics import psnr
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.steps import share, step_generator

RESULT = Path(__file__).parent / "results" / "diffusion_decoder.json"
DIM, WIDTHS, DEPTHS = 16, (16, 32, 64), (0, 0, 1)
PLAIN_WIDTHS, PLAIN_DEPTHS = (24, 44, 92), (0, 0, 2)  # as many parameters as WIDTHS and a U-Net of UNET_WIDTH
UNET_WIDTH = 12
BATCH = 32
TESTED = 2000  # pictures


class Codes(nn.Module):
    """Encoder and quantizer, trained with a decoder that is thrown away."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.encoder = VQVAEEncoder(1, DIM, WIDTHS, DEPTHS)
        self.quantizer = VectorQuantizer(DIM, 512, channel_first=True)
        self.decoder = decoder

    def loss(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        codes = self.quantizer(self.encoder(pictures).float())
        mse = F.mse_loss(self.decoder(codes.quantized).float(), pictures)
        return mse + codes.loss, {"mse": mse.detach(), "perplexity": codes.perplexity, "usage": codes.usage}


class PlainDecoder(nn.Module):
    """A decoder of codes that stay as they are."""

    def __init__(self, codes: Codes):
        super().__init__()
        self.decoder = VQVAEDecoder(1, DIM, PLAIN_WIDTHS, PLAIN_DEPTHS)
        self.codes = [codes]  # not a part of this module: it is neither trained nor saved

    def loss(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        codes = self.codes[0]
        with torch.no_grad():
            vectors = codes.quantizer(codes.encoder(pictures).float()).quantized
        mse = F.mse_loss(self.decoder(vectors).float(), pictures)
        return mse, {"mse": mse.detach()}


class DiffusionDecoder(DiffusionModel):
    """A `DiffusionModel` whose encoder and codes stay as they are."""

    def __init__(self, codes: Codes):
        super().__init__(codes.encoder, VQVAEDecoder(1, DIM, WIDTHS, DEPTHS), codes.quantizer, width=UNET_WIDTH)
        self.encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> "DiffusionDecoder":
        super().train(mode)
        self.quantizer.eval()
        return self


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def train(model: nn.Module, data: Set32, steps: int, seed: int, folder: Path) -> float:
    """CPU seconds of the training."""

    def batches(step: int, rank: int, processes: int) -> Tensor:
        generator = step_generator(seed, step)
        chosen = torch.randint(len(data.train), (BATCH,), generator=generator).tolist()
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        return data.train[torch.tensor(share(chosen, rank, processes))].roll((down, right), (2, 3)) * 2 - 1

    stage, started = StageConfig(steps=steps, batch=BATCH, learning_rate=2e-3), time.process_time()
    fit(model, batches, stage, folder, f"{data.name}/{seed}/{steps}", make_accelerator("cpu"), show=False)
    return time.process_time() - started


@torch.no_grad()
def measure(decode: Callable[[Tensor], Tensor], ids: Tensor, pictures: Tensor, features: str) -> dict[str, float]:
    """PSNR in dB (the mean over pictures) and Fréchet distance of pictures in [0, 1]."""
    back = torch.cat([(decode(part) / 2 + 0.5).clamp(0, 1) for part in ids.split(100)])
    network = feature_network(features)
    real, made = (torch.cat([network.features(part) for part in side.split(250)]) for side in (pictures, back))
    return {
        "psnr_db": round(float(psnr(back, pictures).mean()), 2),
        "frechet": round(frechet_distance(real, made), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--set", default="fashion", choices=["mnist", "fashion", "speech"])
    parser.add_argument("--code-steps", type=int, default=800, help="of training encoder and codes")
    parser.add_argument("--steps", type=int, default=1200, help="of training each decoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the checkpoints")
    args = parser.parse_args()
    data = load(args.set)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        torch.manual_seed(args.seed)
        codes = Codes(VQVAEDecoder(1, DIM, WIDTHS, DEPTHS))
        train(codes, data, args.code_steps, args.seed, folder / "codes")
        plain = PlainDecoder(codes)
        plain_s = train(plain, data, args.steps, args.seed, folder / "plain")
        diffusion = DiffusionDecoder(codes)
        diffusion_s = train(diffusion, data, args.steps, args.seed, folder / "diffusion")
    pictures = data.test[:TESTED]
    ids = torch.cat([diffusion.encode(part * 2 - 1) for part in pictures.split(250)])
    counts = torch.bincount(ids.flatten(), minlength=512).double()

    def of(decode: Callable[[Tensor], Tensor]) -> dict[str, float]:
        return measure(decode, ids, pictures, args.set)

    def vectors(part: Tensor) -> Tensor:
        return codes.quantizer.indices_to_codes(part)

    result = {
        **{key: value for key, value in vars(args).items() if key not in ("set", "keep")},
        "test": len(pictures),
        "perplexity": round(float(torch.special.entr(counts / counts.sum()).sum().exp()), 1),
        "plain": {
            "parameters": parameters(plain.decoder),
            "train_cpu_s": round(plain_s),
            **of(lambda part: plain.decoder(vectors(part))),
        },
        "diffusion": {
            "parameters": parameters(diffusion.decoder, diffusion.network),
            "train_cpu_s": round(diffusion_s),
            "inner mean": of(lambda part: diffusion.decoder(vectors(part))),
            "mean": of(lambda part: diffusion.decode(part, mode="mean")),
            **{f"sample, {n} steps": of(lambda part, n=n: diffusion.decode(part, steps=n)) for n in (1, 2, 4, 8)},
        },
    }
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.write_text(json.dumps({**results, args.set: result}, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
