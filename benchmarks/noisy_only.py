"""Training without clean data against the same network with clean data, BM3D and non-local means.

    VQFUSION_DATA=... python benchmarks/noisy_only.py train400 --steps 1000 --folder RUN
    VQFUSION_DATA=... python benchmarks/noisy_only.py train400 --steps 1000 --folder RUN --clean
    VQFUSION_DATA=... python benchmarks/noisy_only.py train400 --steps 400 --folder RUN --correlated 0.7
    VQFUSION_DATA=... python benchmarks/noisy_only.py train400 --steps 400 --folder RUN --correlated 0.7 \\
        --method blind_spot --plain

`train400`: noise of 25 / 255 is added once to each of 360 pictures (each has one noisy version, and the clean ones are
never seen by the first network); Set12 with noise of seed 0 is the test. The second network learns from the clean
pictures, with the same number of steps; the processor seconds are in the results, which are added to
`benchmarks/results/noisy_only.json`. The row of microscopy there is the `report.json` of `vqfusion train` (prior:
{clean: false}, 350 steps) on a folder with that picture of `microscopy_ccby` alone.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vqfusion.config import PriorConfig, PriorTrainingConfig
from vqfusion.data.standard import grey_pictures
from vqfusion.evaluate.metrics import psnr
from vqfusion.models.restoration.prior import Prior
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.restoration.camera import blurred
from vqfusion.train.restoration.noisy.choose import choose
from vqfusion.train.restoration.noisy.lessons import Taught, lessons
from vqfusion.train.restoration.noisy.signals import NoisySignals
from vqfusion.train.restoration.recipe import NOISY, NOISY_STAGE, STAGE
from vqfusion.train.restoration.trainer import noisy_batches

RESULT = Path(__file__).parent / "results" / "noisy_only.json"
SIGMA = 25 / 255


def record(key: str, values: dict) -> None:
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    found[key] = values
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(key, json.dumps(values), flush=True)


def grey(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path).convert("L"))).float()[None] / 255


def noise_like(x: Tensor, width: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(x.shape, generator=generator)
    if width:
        noise = blurred(noise, width)
        noise = noise / noise.std()
    return SIGMA * noise


def training(steps: int, clean: bool, method: str = "auto", rank: int = 2, **prior) -> PriorTrainingConfig:
    widths, depths, crop, batch = NOISY[rank]
    stage = STAGE.model_copy(update=NOISY_STAGE | {"steps": steps, "batch": batch})
    config = PriorConfig(widths=widths, depths=depths, leak=0.03, clean=clean, **prior)
    return PriorTrainingConfig(
        name="noisy-only", data="", prior=config, stage=stage, crop=crop, method=method, error_slope=0.0065
    )


def train_noisy(
    signals: NoisySignals, config: PriorTrainingConfig, folder: Path, plain: bool = False
) -> tuple[Prior, str, float]:
    chosen = choose(config, signals)
    if plain:
        chosen = replace(chosen, noise=chosen.noise.model_copy(update={"reach": (0,) * config.prior.rank}))
    print(chosen.reason, flush=True)
    learned = ("uneven",) if chosen.noise.method == "recorrupted" else ()
    torch.manual_seed(0)
    prior = Prior(config.prior.model_copy(update={"noise": chosen.noise, "learned": learned}))
    seconds = run(Taught(prior), lessons(signals, chosen, config), config, folder)
    return prior.eval(), chosen.reason, seconds


def run(module, batches, config: PriorTrainingConfig, folder: Path) -> float:
    begin = time.process_time()
    fit(module, batches, config.stage, folder, "", make_accelerator("cpu"), show=False)
    return time.process_time() - begin


@torch.no_grad()
def scores(prior: Prior, noisy: list[Tensor], clean: list[Tensor], sigma: float | None = SIGMA) -> float:
    made = [prior.denoise(y[None], sigma)[0].clamp(0, 1) for y in noisy]
    return float(torch.tensor([float(psnr(m, x)) for m, x in zip(made, clean, strict=True)]).mean())


def train400(asked: argparse.Namespace) -> None:
    generator, width = torch.Generator().manual_seed(1), asked.correlated
    clean = [grey(path) for path in grey_pictures("train400")[:360]]
    test = [grey(path) for path in grey_pictures("set12")]
    noisy = [x + noise_like(x, width, generator) for x in clean]
    fixed = torch.Generator().manual_seed(0)
    given = [x + noise_like(x, width, fixed) for x in test]
    name = f"train400, {asked.method}" + ", plain" * asked.plain + (f", noise blurred by {width}" if width else "")
    before = [float(psnr(y, x)) for y, x in zip(given, test, strict=True)]
    if asked.clean:
        config = training(asked.steps, clean=True)
        torch.manual_seed(0)
        prior = Prior(config.prior)
        seconds = run(prior, noisy_batches([(255 * x).round().byte() for x in clean], config), config, asked.folder)
        name, reason = "train400, with clean pictures", "supervised"
    else:
        signals = NoisySignals(noisy, [str(i) for i in range(len(noisy))], [], True)
        config = training(asked.steps, False, asked.method)
        prior, reason, seconds = train_noisy(signals, config, asked.folder, asked.plain)
    prior.save_pretrained(asked.folder / "prior")
    row = {"steps": asked.steps, "processor_seconds": round(seconds), "reason": reason}
    row |= {"noisy": sum(before) / len(before), "set12": scores(prior, given, test)}
    record(name, row)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train400"])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--method", default="auto")
    parser.add_argument("--correlated", type=float, default=0.0, help="width in pixels of the blur of the noise")
    parser.add_argument("--plain", action="store_true", help="blind spots that hide nothing but themselves")
    parser.add_argument("--clean", action="store_true", help="train with the clean pictures")
    parser.add_argument("--folder", type=Path, required=True, help="for checkpoints and logs")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    {"train400": train400}[asked.what](asked)


if __name__ == "__main__":
    main()
