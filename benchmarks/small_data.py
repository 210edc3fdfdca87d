"""Every quantizer under the same encoder, decoder, steps and seeds on three small sets, at about 9 bits a position.

Pictures of 32 x 32 become 8 x 8 positions. One row is the mean and the spread over seeds, measured on the test part:
PSNR (the mean over pictures), Fréchet distance on the features of `benchmarks/features.py`, perplexity and usage of the
codes (of each codebook, where there are several), and CPU ms of a training step. Runs that are in the result file are
not repeated, so it can be stopped at any time.

    python benchmarks/small_data.py                                       # everything, an hour on one core
    python benchmarks/small_data.py --sets mnist --quantizers vq fsq --seeds 1 --steps 500
    python benchmarks/small_data.py --sets mnist --quantizers vq --size large --steps 8000 --keep /tmp/best
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from common.pictures32 import Set32, load
from features import feature_network
from torch import Tensor

from vqfusion.config import ImageTokenizerConfig, StageConfig, VQVAEConfig
from vqfusion.evaluate.frechet import frechet_distance
from vqfusion.evaluate.metrics import psnr
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.train.chain import make_accelerator
from vqfusion.train.loop import fit
from vqfusion.train.sources import share, step_generator

RESULT = Path(__file__).parent / "results" / "small_data.json"
BATCH = 32
SIZES = {  # widths and depths: 0.2 M and 0.9 M parameters
    "small": ((16, 32, 64), (0, 0, 1)),
    "large": ((32, 64, 96), (0, 0, 2)),
}
ANNEALED = 0.75  # share of training after which a schedule of a quantizer is at its end
QUANTIZERS: dict[str, dict] = {
    "vq as published (EMA, no k-means, no revival)": dict(
        quantizer="vq", options={"kmeans_init": False, "threshold_ema_dead_code": 0.0}
    ),
    "vq": dict(quantizer="vq"),
    "vq, rotation": dict(quantizer="vq", options={"estimator": "rotation"}),
    "vq, diveq": dict(quantizer="vq", options={"estimator": "diveq"}),
    "gradient_vq": dict(quantizer="gradient_vq"),
    "cosine_vq": dict(quantizer="cosine_vq"),
    "cosine_gradient_vq": dict(quantizer="cosine_gradient_vq"),
    "projected_vq": dict(quantizer="projected_vq"),
    "soft_vq": dict(quantizer="soft_vq"),
    "gumbel_vq": dict(quantizer="gumbel_vq"),
    "sq_vae": dict(quantizer="sq_vae"),
    "sq_vae_vmf": dict(quantizer="sq_vae_vmf"),
    "sim_vq": dict(quantizer="sim_vq"),
    "ibq": dict(quantizer="ibq"),
    "fsq": dict(quantizer="fsq", levels=(8, 8, 8)),
    "residual_fsq, 3 x 8": dict(quantizer="residual_fsq", levels=(2, 2, 2), options={"num_quantizers": 3}),
    "lfq": dict(quantizer="lfq", dim=9),
    "bsq": dict(quantizer="bsq", dim=9),
    "multi_head_vq, 3 x 8": dict(quantizer="multi_head_vq", codebook_size=8, dim=15, options={"heads": 3}),
    "residual_vq, 3 x 8": dict(quantizer="residual_vq", codebook_size=8, options={"num_quantizers": 3}),
    "grouped_residual_vq, 2 x 2 x 5 (9.3 bits)": dict(
        quantizer="grouped_residual_vq", codebook_size=5, options={"groups": 2, "num_quantizers": 2}
    ),
    "hierarchical_vq, 5 x 147 for 2 x 2 positions": dict(quantizer="hierarchical_vq", codebook_size=147),
}
SCHEDULED = ("soft_vq", "gumbel_vq", "sq_vae", "sq_vae_vmf")  # those with `anneal_steps`


def tokenizer(name: str, size: str, steps: int) -> ImageTokenizer:
    widths, depths = SIZES[size]
    shape = {"codebook_size": 512, "dim": 16, **QUANTIZERS[name]}
    if shape["quantizer"] in SCHEDULED:
        shape["options"] = {**shape.get("options", {}), "anneal_steps": round(ANNEALED * steps)}
    return ImageTokenizer(ImageTokenizerConfig(vqvae=VQVAEConfig(channels=1, widths=widths, depths=depths, **shape)))


def run(data: Set32, name: str, seed: int, steps: int, size: str, part: str, keep: Path | None) -> dict[str, float]:
    """Train once and measure on the hold-out or the test part; with `keep` a stopped run goes on from there."""
    stage = StageConfig(steps=steps, batch=BATCH, learning_rate=2e-3)

    def batches(step: int, rank: int, processes: int) -> Tensor:
        generator = step_generator(seed, step)
        chosen = torch.randint(len(data.train), (BATCH,), generator=generator).tolist()
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        return data.train[torch.tensor(share(chosen, rank, processes))].roll((down, right), (2, 3))

    torch.manual_seed(seed)
    model, contract = tokenizer(name, size, steps), f"{data.name}/{name}/{size}/{steps}/{seed}"
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fit(model, batches, stage, keep or Path(folder), contract, make_accelerator("cpu"), show=False)
    spent = time.process_time() - started
    pictures = data.test if part == "test" else data.holdout
    return {**measure(model, pictures, data.name), "cpu_ms_per_step": round(1000 * spent / steps, 1)}


@torch.no_grad()
def measure(model: ImageTokenizer, pictures: Tensor, features: str) -> dict[str, float]:
    ids = torch.cat([model.encode_batch(part) for part in pictures.split(250)])
    back = torch.cat([model.decode_batch(part) for part in ids.split(250)])
    network = feature_network(features)
    real, made = (torch.cat([network.features(part) for part in side.split(250)]) for side in (pictures, back))
    columns = model.vqvae.quantizer.by_codebook(ids)
    counts = [torch.bincount(column.flatten(), minlength=model.codebook_size).double() for column in columns]
    shares = [count / count.sum() for count in counts]
    return {
        "psnr_db": round(float(psnr(back, pictures).mean()), 3),
        "psnr_of_mean_error_db": round(float(-10 * (back - pictures).square().mean().log10()), 3),
        "frechet": round(frechet_distance(real, made), 5),
        "perplexity": round(statistics.mean(float(torch.special.entr(p).sum().exp()) for p in shares), 1),
        "usage": round(statistics.mean(float((count > 0).double().mean()) for count in counts), 4),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def table(runs: dict[str, dict]) -> str:
    """Mean and spread over the seeds of each setting, as markdown."""
    rows: dict[str, list[dict]] = {}
    for key, values in runs.items():
        rows.setdefault(key.rsplit(" | ", 1)[0], []).append(values)
    lines = ["| set, steps, quantizer | PSNR dB | Frechet | perplexity | usage | CPU ms | seeds |", "|" + "---|" * 7]
    for key, seeds in sorted(rows.items()):
        cells = []
        for name in ("psnr_db", "frechet", "perplexity", "usage", "cpu_ms_per_step"):
            values = [seed[name] for seed in seeds]
            spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.4g}{spread}")
        lines.append(f"| {key.replace(' | ', ', ')} | {' | '.join(cells)} | {len(seeds)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=["mnist", "fashion", "speech"])
    parser.add_argument("--quantizers", nargs="+", default=list(QUANTIZERS), choices=list(QUANTIZERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--size", choices=list(SIZES), default="small", help="of encoder and decoder")
    parser.add_argument("--keep", type=Path, help="folder for the checkpoints of one long run")
    parser.add_argument("--holdout", action="store_true", help="measure on a tenth of training, to choose by")
    parser.add_argument("--result", type=Path, default=RESULT)
    args = parser.parse_args()
    part = "holdout" if args.holdout else "test"
    runs = json.loads(args.result.read_text()) if args.result.exists() else {}
    for seed in range(args.seeds):
        for set_name in args.sets:
            data = load(set_name)
            for name in args.quantizers:
                key = f"{set_name} | {args.size}, {args.steps} steps, {part} | {name} | seed {seed}"
                if key not in runs:
                    runs[key] = run(data, name, seed, args.steps, args.size, part, args.keep)
                    args.result.write_text(json.dumps(runs, indent=2) + "\n")
                    print(key, runs[key], flush=True)
    print(table(runs))


if __name__ == "__main__":
    main()
