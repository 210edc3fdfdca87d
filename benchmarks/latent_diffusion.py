"""Samples of a latent diffusion, measured: Fréchet distance, and how few calls do what 250 ancestral steps do.

10,000 MNIST digits as pictures of 32 x 32 (the split of `small_data.py`): a tokenizer to 8 x 8 vectors of 4 numbers,
then a U-Net of the standardised latents, by class. Distances on the features of `benchmarks/features.py`, of 1,000
pictures made with classes of the test part against the 1,505 of the test part, seeds 0 and 1 of the samples,
one training. Beside them: pictures of the training part (nothing can be nearer), the round trip of the test part (what
the tokenizer leaves), a normal distribution with the mean and covariance of all latents of a class (what needs no
diffusion). Rows that are in the result file are not made again.

    python benchmarks/latent_diffusion.py --keep runs/latent-mnist     # about 13 minutes of a core
    python benchmarks/latent_diffusion.py --digits runs/digits-latent  # whether drawn digits are those asked for
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common.pictures32 import Set32, load
from features import feature_network
from torch import Tensor

from vqfusion.config import (
    ImageTokenizerConfig,
    LatentDiffusionConfig,
    LatentTrainingConfig,
    StageConfig,
    VQVAEConfig,
)
from vqfusion.evaluate.frechet import frechet_distance
from vqfusion.models.latent.latent_diffusion import LatentBatch, LatentDiffusion
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.train.latent.trainer import LabelledSignals, fresh_model
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.steps import share, step_generator

RESULT = Path(__file__).parent / "results" / "latent_diffusion.json"
COUNT, ROWS, SEEDS, ANCESTRAL = 1000, 250, 2, 250
FEW = (5, 10, 20)  # calls
SAMPLERS = {"ddim": FEW, "heun": FEW, "dpmpp_2m": FEW, "unipc": FEW, "ddpm": (20, ANCESTRAL)}
GRIDS = ("uniform", "log_snr")
TRAINING = LatentTrainingConfig(
    name="mnist-latent",
    data="mnist",
    latent=LatentDiffusionConfig(
        tokenizer=ImageTokenizerConfig(
            vqvae=VQVAEConfig(channels=1, widths=(16, 32, 64), depths=(0, 0, 1), codebook_size=512, dim=4)
        ),
        width=32,
        classes=tuple("0123456789"),
    ),
    tokenizer_stage=StageConfig(steps=1200, batch=32, learning_rate=2e-3),
    stage=StageConfig(
        steps=2000, batch=48, learning_rate=2e-3, weight_decay=0.0, betas=(0.9, 0.99), ema_decay=0.998
    ),
)  # fmt: skip


def trained(data: Set32, folder: Path) -> tuple[LatentDiffusion, dict]:
    """The model, and seconds of processor time; a stopped training goes on from `folder`."""
    stage, accelerator = TRAINING.tokenizer_stage, make_accelerator("cpu")

    def pictures(step: int, rank: int, processes: int) -> Tensor:
        chosen = torch.randint(len(data.train), (stage.batch,), generator=step_generator(0, step)).tolist()
        return data.train[torch.tensor(share(chosen, rank, processes))]

    torch.manual_seed(0)
    assert isinstance(TRAINING.latent.tokenizer, ImageTokenizerConfig)
    tokenizer, started = ImageTokenizer(TRAINING.latent.tokenizer), time.process_time()
    fit(tokenizer, pictures, stage, folder / "tokenizer", "mnist", accelerator, show=False)
    middle = time.process_time()
    torch.manual_seed(0)
    signals = LabelledSignals(list(data.train), data.train_labels, (32, 32))
    model, source = fresh_model(TRAINING, signals, tokenizer)

    def batches(step: int, rank: int, processes: int) -> LatentBatch:
        return source(step, rank, processes)

    fit(model, batches, TRAINING.stage, folder / "latent", "mnist", accelerator, show=False)
    spent = time.process_time() - middle
    return model, {"tokenizer_cpu_s": round(middle - started), "denoiser_cpu_s": round(spent)}


class Rows:
    """The result file: rows by name, kept as soon as they are known."""

    def __init__(self) -> None:
        self.rows: dict[str, dict] = json.loads(RESULT.read_text()) if RESULT.exists() else {}

    def add(self, name: str, make: Callable[[], dict]) -> None:
        if name not in self.rows:
            started = time.process_time()
            self.rows[name] = make() | {"cpu_s": round(time.process_time() - started, 1)}
            RESULT.write_text(json.dumps(self.rows, indent=1) + "\n")
            print(name, self.rows[name], flush=True)


@torch.no_grad()
def measure(rows: Rows, model: LatentDiffusion, data: Set32) -> None:
    network = feature_network("mnist")

    def features(pictures: Tensor) -> Tensor:
        return torch.cat([network.features(part) for part in pictures.split(ROWS)])

    chosen = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:COUNT]
    real, labels = features(data.test), data.test_labels[chosen]

    def distance(pictures: Tensor) -> dict:
        right = torch.cat([network(part).argmax(1) for part in pictures.split(ROWS)])
        found = {"frechet": round(frechet_distance(features(pictures), real), 4)}
        return found | ({"recognised": float((right == labels).float().mean())} if len(pictures) == COUNT else {})

    def drawn(seed: int, snap: bool = True, **settings: object) -> dict:
        made, nfe = [], 0
        for at in range(0, COUNT, ROWS):
            one = model.sample(labels=labels[at : at + ROWS], seed=100_000 * seed + at, snap=snap, **settings)
            made.append(one.signal)
            nfe = one.nfe
        return distance(torch.cat(made)) | {"nfe": nfe}

    def normal(seed: int) -> dict:
        latents = torch.cat([model.encode(part) for part in data.train.split(ROWS)]).flatten(1).double()
        generator, made = torch.Generator().manual_seed(seed), torch.empty(COUNT, latents.shape[1]).double()
        for label in labels.unique().tolist():
            own, wanted = latents[data.train_labels == label], labels == label
            values, vectors = torch.linalg.eigh(own.T.cov())
            z = torch.randn(int(wanted.sum()), len(values), generator=generator, dtype=torch.float64)
            made[wanted] = own.mean(0) + (z * values.clamp(min=0).sqrt()) @ vectors.T
        return distance(model.decode(made.float().reshape(COUNT, -1, *model.grid)))

    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[: len(data.test)]
    rows.add("training pictures", lambda: distance(data.train[order]))
    rows.add(
        "round trip of the test pictures",
        lambda: distance(model.codec.decode_batch(model.codec.encode_batch(data.test))),
    )
    for seed in range(SEEDS):
        rows.add(f"normal latents of each class | seed {seed}", lambda seed=seed: normal(seed))
        for name, calls in SAMPLERS.items():
            for grid in GRIDS if name in ("dpmpp_2m", "unipc") else GRIDS[:1]:
                for asked in calls:
                    steps = asked if name != "heun" else asked // 2
                    settings = dict(sampler=name, steps=steps, times=grid, guidance_scale=1.0)
                    rows.add(f"{name}, {grid}, {asked} calls | seed {seed}", lambda s=seed, k=settings: drawn(s, **k))
        plain = dict(sampler="dpmpp_2m", steps=20)
        rows.add(f"dpmpp_2m, 20 calls, not snapped | seed {seed}", lambda s=seed, k=plain: drawn(s, False, **k))
        for scale in (1.5, 2.0):
            k = plain | {"guidance_scale": scale}
            rows.add(f"dpmpp_2m, 20 steps, guidance {scale} | seed {seed}", lambda s=seed, k=k: drawn(s, **k))


def table(rows: dict[str, dict]) -> str:
    """Mean and spread over seeds, as markdown."""
    found: dict[str, list[dict]] = {}
    for name, values in rows.items():
        if "frechet" in values:
            found.setdefault(name.rsplit(" | ", 1)[0], []).append(values)
    lines = ["| samples | calls | Fréchet distance | recognised |", "|---|---|---|---|"]
    for name, seeds in found.items():
        values = [seed["frechet"] for seed in seeds]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        right = [seed["recognised"] for seed in seeds if "recognised" in seed]
        share_right = f"{100 * statistics.mean(right):.1f} %" if right else ""
        lines.append(f"| {name} | {seeds[0].get('nfe', '')} | {statistics.mean(values):.3f}{spread} | {share_right} |")
    return "\n".join(lines)


@torch.no_grad()
def digits(folder: Path) -> dict:
    """Whether the digits of `digits-latent` are taken for what was asked, by a logistic regression on real ones."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    real = load_digits()
    judge = LogisticRegression(max_iter=1000).fit(real.data / 16, real.target)
    model, labels = LatentDiffusion.from_pretrained(folder), torch.arange(500) % 10
    made = model.sample(labels=labels).signal.flatten(1).numpy()
    found = judge.predict(made) == labels.numpy()
    return {"asked_for": len(labels), "recognised": round(float(found.mean()), 4), "guidance": model.guidance_scale}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, default=Path("runs/latent-mnist"), help="folder for the checkpoints")
    parser.add_argument("--digits", type=Path, help="folder of a trained `digits-latent`: measure that instead")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows()
    if asked.digits:
        rows.add("digits-latent", lambda: digits(asked.digits))
        return
    data = load("mnist")
    model, cost = trained(data, asked.keep)
    rows.add("training", lambda: cost)
    measure(rows, model, data)
    print(table(rows.rows))


if __name__ == "__main__":
    main()
