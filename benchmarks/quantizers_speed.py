"""Vector quantization against its peers: processor time of a training step, peak memory, wrong codes.

A step is forward and backward of `(quantized * w).sum() + loss` and the moving average of the codebook, d = 64,
two threads. Steps of all quantizers alternate in one process, and the first round is dropped, so that a busy
machine slows all alike; processor time counts every thread. Memory: one process each, high-water mark over
what it held before the step.

    python benchmarks/quantizers_speed.py            # about 5 minutes; memory needs 13 GB free
    python benchmarks/quantizers_speed.py --quick    # the smallest size, prints only
    python benchmarks/quantizers_speed.py --entropy  # LFQ and BSQ with 2^16 codes, prints only
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqfusion.tokenizers.nearest import nearest_code, nearest_code_backend
from vqfusion.tokenizers.quantizers import QUANTIZERS, Quantizer, VectorQuantizer

try:
    from vector_quantize_pytorch import VectorQuantize
except ImportError:
    sys.exit(
        "the peer is missing: pip install --no-deps vector-quantize-pytorch==1.32.0 "
        "einx frozendict loguru torch-einops-utils"
    )

DIM, BATCH, THREADS, ROUNDS = 64, 16, 2, 7
SPEED = [(16384, 1024), (65536, 1024), (16384, 8192)]
MEMORY = [*SPEED, (65536, 8192)]
BINARY = ("lfq", "bsq")
PEER = "vector-quantize-pytorch"
NAMES = ["vqfusion", "vqfusion, plain torch", PEER, f"{PEER}, straight-through", "audiocraft-style"]
RESULT = Path(__file__).parent / "results" / "quantizers_speed.json"


class OneHotQuantizer(nn.Module):
    """The algorithm of audiocraft's codebook, written anew: all distances at once, sums as a product with one-hots."""

    def __init__(self, codebook_size: int, decay: float = 0.99, eps: float = 1e-5):
        super().__init__()
        self.decay, self.eps = decay, eps
        self.register_buffer("codebook", torch.randn(codebook_size, DIM, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("counts", torch.ones(codebook_size))
        self.register_buffer("sums", self.codebook.clone())

    @torch.no_grad()
    def nearest(self, x: Tensor) -> Tensor:
        codes = self.codebook.t()
        distances = x.pow(2).sum(1, keepdim=True) - 2 * x @ codes + codes.pow(2).sum(0, keepdim=True)
        return (-distances).max(dim=-1).indices

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        flat = x.detach().reshape(-1, DIM)
        indices = self.nearest(flat)
        codes = F.embedding(indices, self.codebook).view_as(x)
        chosen = F.one_hot(indices, len(self.codebook)).to(flat.dtype)
        self.counts.mul_(self.decay).add_(chosen.sum(0), alpha=1 - self.decay)
        self.sums.mul_(self.decay).add_((flat.t() @ chosen).t(), alpha=1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + self.eps) / (total + len(self.counts) * self.eps) * total
        self.codebook.copy_(self.sums / smoothed[:, None])
        return x + (codes - x).detach(), indices.view(x.shape[:-1]), F.mse_loss(x, codes)


def build(name: str, codebook_size: int) -> nn.Module:
    if name in BINARY:
        return QUANTIZERS[name](codebook_size.bit_length() - 1)
    if name == "audiocraft-style":
        return OneHotQuantizer(codebook_size)
    if name.startswith(PEER):
        return VectorQuantize(dim=DIM, codebook_size=codebook_size, rotation_trick=name == PEER)
    return VectorQuantizer(DIM, codebook_size, kmeans_init=False)


def choose_search(name: str) -> None:
    os.environ["VQFUSION_NEAREST"] = "torch" if "plain torch" in name else ""


def step(name: str, quantizer: nn.Module, x: Tensor, w: Tensor) -> None:
    choose_search(name)
    quantized, _, loss = quantizer(x)
    ((quantized * w).sum() + loss.sum()).backward()
    if isinstance(quantizer, Quantizer):
        quantizer.update()
    x.grad = None


def data(n: int, dim: int = DIM) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, w = (torch.randn(BATCH, n // BATCH, dim, generator=generator) for _ in range(2))
    return x.requires_grad_(), w


def processor_ms(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start)


def medians(times: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Median milliseconds, and the median over rounds of the ratio to ours; the first round is dropped."""
    ours = times[next(iter(times))]
    return {
        name: {
            "cpu_ms": round(statistics.median(values[1:]), 1),
            "ratio": round(statistics.median(v / o for v, o in zip(values[1:], ours[1:], strict=True)), 2),
        }
        for name, values in times.items()
    }


def speed(n: int, k: int, rounds: int) -> dict:
    x, w = data(n)
    quantizers = {name: build(name, k) for name in NAMES}
    times: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        for name, quantizer in quantizers.items():
            times[name].append(processor_ms(lambda name=name, quantizer=quantizer: step(name, quantizer, x, w)))
    return {"vectors": n, "codes": k, "step": medians(times), "search": search_speed(n, k, rounds)}


@torch.no_grad()
def search_speed(n: int, k: int, rounds: int) -> dict[str, dict[str, float]]:
    x = data(n)[0].reshape(-1, DIM)
    codes = torch.randn(k, DIM, generator=torch.Generator().manual_seed(2))
    half_norms = codes.square().sum(dim=1) / 2
    searches: dict[str, Callable[[], Tensor]] = {
        "vqfusion": lambda: nearest_code(x, codes),
        "vqfusion, plain torch": lambda: nearest_code(x, codes),
        "all scores, argmax": lambda: torch.addmm(-half_norms, x, codes.t()).argmax(dim=1),
        "torch.cdist, argmin": lambda: torch.cdist(x, codes).argmin(dim=1),
    }
    times: dict[str, list[float]] = {name: [] for name in searches}
    for _ in range(rounds):
        for name, search in searches.items():
            choose_search(name)
            times[name].append(processor_ms(search))
    return medians(times)


def status_mib(file: str, key: str) -> float:
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def memory_here(name: str, n: int, k: int) -> None:
    """Print the high-water mark of one step over what the process held before."""
    quantizer = build(name, k)
    for rows in (BATCH, n):  # a small step first loads what the libraries load late
        x, w = data(rows, quantizer.dim if name in BINARY else DIM)
        before = status_mib("/proc/self/status", "VmRSS")
        if rows == BATCH and name == "vqfusion":
            nearest_code_backend()
        step(name, quantizer, x, w)
    print(status_mib("/proc/self/status", "VmHWM") - before)


def memory_of(name: str, n: int, k: int) -> float:
    """The same in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--memory", name, str(n), str(k)]
    return round(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout), 1)


def memory(sizes: list[tuple[int, int]]) -> list[dict]:
    rows = []
    for n, k in sizes:
        row: dict = {"vectors": n, "codes": k, "peak_mib": {}}
        for name in NAMES:
            wanted = 7 * n * k * 4 / 2**20 if name in NAMES[2:] else 200
            if status_mib("/proc/meminfo", "MemAvailable") < wanted:
                row["peak_mib"][name] = None  # not measured: it would not fit
                continue
            row["peak_mib"][name] = memory_of(name, n, k)
        rows.append(row)
    return rows


@torch.no_grad()
def wrong_codes(mean: float, n: int = 8192, k: int = 1024, std: float = 0.3) -> dict[str, float]:
    """Share of vectors whose code is not the nearest in float64."""
    generator = torch.Generator().manual_seed(3)
    x, codes = (mean + std * torch.randn(rows, DIM, generator=generator) for rows in (n, k))
    exact = torch.cat(
        [
            torch.cdist(chunk.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
            for chunk in x.split(1024)
        ]
    )
    found = {"torch.cdist, argmin": torch.cdist(x, codes).argmin(dim=1)}
    for name in (NAMES[0], NAMES[1], PEER, "audiocraft-style"):
        choose_search(name)
        quantizer = build(name, k).eval()
        if name == PEER:
            quantizer._codebook.embed.copy_(codes[None])
            found[name] = quantizer(x[None])[1][0]
        else:
            quantizer.codebook.copy_(codes)
            found[name] = quantizer.nearest(x)
    return {name: round(float((indices != exact).float().mean()), 5) for name, indices in found.items()}


def table(report: dict) -> str:
    lines = []
    for part in ("step", "search"):
        for row in report["speed"]:
            lines.append(f"{part}, {row['vectors']} x {row['codes']}: processor ms (times ours)")
            lines += [f"  {name:42s} {v['cpu_ms']:9.1f}  {v['ratio']:6.2f}" for name, v in row[part].items()]
    for row in report["memory"]:
        lines.append(f"peak memory, {row['vectors']} x {row['codes']}: MiB")
        lines += [f"  {name:42s} {'-' if v is None else v:>9}" for name, v in row["peak_mib"].items()]
    for mean, shares in report["wrong_codes"].items():
        lines.append(f"wrong codes, mean {mean}, std 0.3")
        lines += [f"  {name:42s} {share:9.3%}" for name, share in shares.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="the smallest size, 3 rounds; writes nothing")
    parser.add_argument("--entropy", action="store_true", help="memory of LFQ and BSQ with 2^16 codes; writes nothing")
    parser.add_argument("--memory", nargs=3, metavar=("NAME", "VECTORS", "CODES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    if arguments.memory:
        name, n, k = arguments.memory
        return memory_here(name, int(n), int(k))
    if arguments.entropy:
        return print("\n".join(f"{name}, 4096 x 2^16: {memory_of(name, 4096, 2**16)} MiB" for name in BINARY))
    rounds, sizes = (3, 1) if arguments.quick else (ROUNDS, None)
    report = {
        "what": f"median of {rounds - 1} rounds, processor milliseconds; ratio: median of paired ratios to ours",
        "machine": f"{platform.machine()}, {THREADS} threads of {os.cpu_count()} cores, torch {torch.__version__}",
        "search": nearest_code_backend(),
        "wanted": "step of the peer >= 20 times ours, >= 10 times ours in plain torch; <= 100 MB at 65536 x 8192; "
        "no wrong code at mean 100",
        "speed": [speed(n, k, rounds) for n, k in SPEED[:sizes]],
        "memory": memory(MEMORY[:sizes]),
        "wrong_codes": {str(mean): wrong_codes(mean) for mean in (0, 100)},
    }
    if not arguments.quick:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
