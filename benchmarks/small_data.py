"""Every quantizer under the same encoder, decoder, steps and seeds on three small sets, at about 9 bits a position.

Pictures of 32 x 32 become 8 x 8 positions. One row is the mean and the spread over seeds, measured on the test part:
PSNR (the mean over pictures), Fréchet distance on the features of `benchmarks/features.py`, perplexity and usage of the
codes (of each codebook, where there are several), CPU ms of a training step, and the memory that a step takes at its
peak. Each set and seed has a file in `benchmarks/results/small_data/`; rows that are there are not run again, so it can
be stopped and resumed at any time, and two sets or seeds can run side by side.

    python benchmarks/small_data.py                                       # everything, an hour on one core
    python benchmarks/small_data.py --table                               # the table of what is there, as markdown
    python benchmarks/small_data.py --memory                              # the column MiB, seconds
    python benchmarks/small_data.py --sets mnist --quantizers vq fsq --seeds 0 --steps 500
    python benchmarks/small_data.py --sets mnist --quantizers vq --size large --seeds 0 --steps 8000 --keep runs/best
"""

import argparse
import json
import os
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
from vqfusion.nn.bfloat16 import has_bfloat16
from vqfusion.tokenizers.image import ImageTokenizer
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.steps import share, step_generator

RESULTS = Path(__file__).parent / "results" / "small_data"
SETS = ("mnist", "fashion", "speech")
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
    cost = {"cpu_ms_per_step": round(1000 * spent / steps, 1), "bfloat16": has_bfloat16()}
    return {**measure(model, pictures, data.name), **cost}


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


def peak_mib(name: str, size: str, steps: int) -> float:
    """Peak memory of a training step over what the process held before it, in a process of its own."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        model = tokenizer(name, size, steps)
        for batch in (2, BATCH):  # the small step loads what is loaded late
            pictures, before = torch.rand(batch, 1, 32, 32), resident_mib("VmRSS")
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
                loss, _ = model.loss(pictures)
            loss.backward()
        os.write(write_end, f"{resident_mib('VmHWM') - before:.1f}".encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        return float(pipe.read())


def resident_mib(field: str) -> float:
    """Resident memory of this process as Linux counts it: `VmRSS` now, `VmHWM` at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def table(sets: list[str], settings: str) -> str:
    """Mean and spread over the seeds of every quantizer, as markdown; where one is missing, so many as there are."""
    columns = ("psnr_db", "frechet", "perplexity", "usage", "cpu_ms_per_step")
    memory_file = RESULTS / "memory.json"
    memory = json.loads(memory_file.read_text()) if memory_file.exists() else {}
    lines = []
    for set_name in sets:
        files = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{set_name}-*.json"))]
        lines += ["", f"| {set_name}: quantizer | PSNR dB | Fréchet | perplexity | usage | CPU ms | MiB | seeds |"]
        lines.append("|" + "---|" * 8)
        rows = {name: [f[key] for f in files if (key := f"{settings} | {name}") in f] for name in QUANTIZERS}
        ranked = sorted((n for n in rows if rows[n]), key=lambda n: -statistics.mean(r["psnr_db"] for r in rows[n]))
        for name in ranked:
            cells = []
            for column in columns:
                scale = 100 if column == "usage" else 1
                alike = rows[name]
                if column == "cpu_ms_per_step":  # processors with products of bfloat16 are not averaged with others
                    alike = [row for row in alike if row.get("bfloat16", True) == alike[0].get("bfloat16", True)]
                values = [scale * row[column] for row in alike]
                spread = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
                cells.append(f"{statistics.mean(values):.4g}{' %' if column == 'usage' else ''}{spread}")
            cells += [str(memory.get(name, "")), str(len(rows[name]))]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines[1:])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--quantizers", nargs="+", default=list(QUANTIZERS), choices=list(QUANTIZERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--size", choices=list(SIZES), default="small", help="of encoder and decoder")
    parser.add_argument("--keep", type=Path, help="folder for the checkpoints of one long run")
    parser.add_argument("--holdout", action="store_true", help="measure on a tenth of training, to choose by")
    parser.add_argument("--table", action="store_true", help="print the table and run nothing")
    parser.add_argument("--memory", action="store_true", help="measure the memory of a training step only")
    args = parser.parse_args()
    part = "holdout" if args.holdout else "test"
    settings = f"{args.size}, {args.steps} steps, {part}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    if args.memory:
        peaks = {name: peak_mib(name, args.size, args.steps) for name in args.quantizers}
        (RESULTS / "memory.json").write_text(json.dumps(peaks, indent=2) + "\n")
    for seed in [] if args.table or args.memory else args.seeds:
        for set_name in args.sets:
            path, data = RESULTS / f"{set_name}-{seed}.json", load(set_name)
            for name in args.quantizers:
                runs = json.loads(path.read_text()) if path.exists() else {}
                key = f"{settings} | {name}"
                if key not in runs:
                    runs[key] = run(data, name, seed, args.steps, args.size, part, args.keep)
                    path.write_text(json.dumps(runs, indent=2) + "\n")
                    print(set_name, seed, key, runs[key], flush=True)
    print(table(args.sets, settings))


if __name__ == "__main__":
    main()
