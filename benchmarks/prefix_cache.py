"""What the prefix cache saves: milliseconds per sampling step with it and without it, and that it is exact.

256 given tokens and 64 target tokens, one position each, in a transformer of the size of the shipped model
with random weights (speed does not depend on them). One thread; runs alternate, so that a busy machine slows
both alike.

    python benchmarks/prefix_cache.py
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vqfusion.config import FusionConfig, SlotConfig
from vqfusion.models.fusion.fusion import Fusion, SlotTokens
from vqfusion.train.recipes import recipe

GIVEN, TARGET, CODES, ROUNDS, STEPS = 256, 64, 1024, 15, 4
RESULT = Path(__file__).parent / "results" / "prefix_cache.json"


def build() -> Fusion:
    shape = recipe("emoji").fusion
    slots = {
        "image": SlotConfig(tokenizer="image", shape=(GIVEN,)),
        "audio": SlotConfig(tokenizer="audio", shape=(TARGET,)),
    }
    torch.manual_seed(0)
    config = FusionConfig(dim=shape.dim, layers=shape.layers, heads=shape.heads, slots=slots)
    return Fusion(config, {"image": CODES, "audio": CODES}).eval()


def dense(fusion: Fusion, given: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """The same logits by one attention over all tokens with a block mask: no cache anywhere."""
    parts = [
        fusion._embed("image", SlotTokens(given), None),
        fusion._embed("audio", SlotTokens(target), hidden),
    ]
    start = fusion.sink.expand(len(given), -1, -1)
    x = torch.cat([start, *(part.x for part in parts)], dim=1)
    places = torch.cat([start.new_zeros(1, 3), *(part.positions for part in parts)])
    rotary = fusion.transformer.rotary(places)
    first = 1 + GIVEN
    allowed = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool)
    allowed[:first, first:] = False  # given tokens attend to given tokens only
    for block in fusion.transformer.blocks:
        q, k, v = block.project(x, rotary)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        x = x + block.out(mixed.transpose(1, 2).flatten(2))
        gate, up = block.gate_up(block.norm_mlp(x)).chunk(2, dim=-1)
        x = x + block.down(F.silu(gate) * up)
    return fusion._head("audio", fusion.transformer.norm(x[:, first:]), parts[1])


def measure(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor milliseconds for each of a few steps."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        run()
    return 1000 * (time.perf_counter() - wall) / STEPS, 1000 * (time.process_time() - cpu) / STEPS


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    fusion, results = build(), []
    for batch in (1, 8):
        generator = torch.Generator().manual_seed(batch)
        given = torch.randint(CODES, (batch, GIVEN), generator=generator)
        target = torch.randint(CODES, (batch, TARGET), generator=generator)
        hidden = torch.rand(batch, TARGET, generator=generator) < 0.5
        tokens, hide = {"audio": SlotTokens(target)}, {"audio": hidden}
        cache = fusion.prefix({"image": SlotTokens(given)}, batch)

        def cached(tokens=tokens, hide=hide, cache=cache) -> Tensor:
            return fusion.logits(tokens, hide, cache)["audio"]

        def uncached(tokens=tokens, hide=hide, given=given, batch=batch) -> Tensor:
            return fusion.logits(tokens, hide, fusion.prefix({"image": SlotTokens(given)}, batch))["audio"]

        difference = (cached() - dense(fusion, given, target, hidden)).abs().max()
        measure(uncached)
        rounds = [(measure(cached), measure(uncached)) for _ in range(ROUNDS)]
        with_wall, with_cpu = (statistics.median(r[0][i] for r in rounds) for i in (0, 1))
        without_wall, without_cpu = (statistics.median(r[1][i] for r in rounds) for i in (0, 1))
        results.append(
            {
                "batch": batch,
                "with_cache_ms": round(with_wall, 3),
                "without_cache_ms": round(without_wall, 3),
                "ratio": round(statistics.median(r[1][0] / r[0][0] for r in rounds), 2),
                "with_cache_cpu_ms": round(with_cpu, 3),
                "without_cache_cpu_ms": round(without_cpu, 3),
                "cpu_ratio": round(statistics.median(r[1][1] / r[0][1] for r in rounds), 2),
                "largest_logit_difference": float(difference),
            }
        )
    config = fusion.config
    report = {
        "what": f"one sampling step, {GIVEN} given and {TARGET} target tokens, median of {ROUNDS} rounds",
        "model": f"dim {config.dim}, {config.layers} layers, {config.heads} heads, random weights",
        "wanted": "ratio >= 4, largest_logit_difference <= 1e-5",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores, "
        f"torch {torch.__version__}, float32",
        "results": results,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
