"""Tokens that Fusion learns from in a second of processor time, beside another version of the source.

Pairs of sentences (6 to 31 tokens) and spoken words (20 to 52 codes, a word of 1 to 3 tokens), made up, in a network of
the size `small`: a step is the draw of the batch, the loss, its gradient and the optimizer. Only real tokens count, no
padding. Versions take turns, each in a process of its own with one thread, so that a busy machine slows all alike.

    git worktree add /tmp/before COMMIT
    python benchmarks/throughput.py /tmp/before/src
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

RESULT = Path(__file__).parent / "results" / "throughput.json"
HERE = Path(__file__).parents[1] / "src"
ROUNDS, STEPS, WARM = 2, 8, 2
TEXT = {"tokenizer": "text", "variable": True, "shape": [32]}
SLOTS: dict[str, dict[str, Any]] = {
    "sentences": {"text:en": TEXT, "text:de": TEXT},
    "speech": {"text:en": TEXT, "audio": {"tokenizer": "audio", "variable": True, "shape": [192], "patch": [4]}},
}
SIZES = {"text": 1024, "audio": 1000}


def measure(kind: str) -> dict[str, float]:
    """Tokens a second and milliseconds of each part of a step, of the version that is imported."""
    import torch

    from vqfusion.config import ChainConfig, FusionConfig
    from vqfusion.models.fusion.fusion import Fusion, FusionBatch
    from vqfusion.nn.arithmetic import Arithmetic
    from vqfusion.train.fusion.draws import DrawSource, TokenRecord
    from vqfusion.train.loop.optimizers import make_optimizers
    from vqfusion.train.loop.precision import loss_in

    torch.set_num_threads(1)
    fast = {"positions": "rotary", "packed": True} if "packed" in FusionConfig.model_fields else {}
    names = list(SLOTS[kind])
    draws = [{"given": [a], "target": [b]} for a in names for b in names if a != b]
    network = {"dim": 192, "layers": 4, "heads": 3, "slots": SLOTS[kind], **fast}
    tokenizers = {"text": {"kind": "text"}, "audio": {"kind": "audio"}}
    stage = {"optimizer": "muon", "batch": 32, "draws_per_step": 2, "learning_rate": 2.5e-3}
    chain = ChainConfig.model_validate(
        {"name": "x", "languages": ["en", "de"], "tokenizers": tokenizers, "fusion": network, "draws": draws,
         "fusion_stage": stage}
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)

    def made_up(name: str) -> torch.Tensor:
        low, high = {"audio": (5, 14), "text": (6, 32) if kind == "sentences" else (1, 4)}[name.split(":")[0]]
        length = int(torch.randint(low, high, (1,), generator=generator)) * (4 if name == "audio" else 1)
        return torch.randint(SIZES[name.split(":")[0]], (length,), generator=generator)

    records = [TokenRecord(str(i), ({name: made_up(name) for name in names},)) for i in range(512)]
    source = DrawSource(records, chain)
    torch.manual_seed(0)
    fusion = Fusion(chain.fusion, {name: SIZES[name] for name in {slot["tokenizer"] for slot in SLOTS[kind].values()}})
    optimizers = make_optimizers(fusion.train(), chain.fusion_stage)

    def real(batch: FusionBatch) -> int:
        slots = [*batch.target.values(), *batch.given.values()]
        return sum(int(one.ids.numel() if one.mask is None else one.mask.sum()) for one in slots)

    tokens, spent = 0, [0.0, 0.0, 0.0]
    for step in range(WARM + STEPS):
        marks = [time.process_time()]
        batches = source(step, 0, 1)
        marks.append(time.process_time())
        loss_in(Arithmetic(), fusion, batches)[0].backward()
        torch.nn.utils.clip_grad_norm_(fusion.parameters(), 1.0)
        marks.append(time.process_time())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        marks.append(time.process_time())
        if step >= WARM:
            tokens += sum(map(real, batches))
            spent = [old + b - a for old, a, b in zip(spent, marks, marks[1:], strict=False)]
    parts = dict(zip(("draw_ms", "loss_ms", "optimizer_ms"), (1000 * one / STEPS for one in spent), strict=True))
    return {"tokens_per_s": tokens / sum(spent), **parts}


def run(source: str) -> dict[str, dict[str, float]]:
    """What a version measures in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--measure"], env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def main() -> None:
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps({kind: measure(kind) for kind in SLOTS}))
        return
    found: dict[str, list[dict[str, dict[str, float]]]] = {"before": [], "now": []}
    for _ in range(ROUNDS):
        found["before"].append(run(sys.argv[1]))
        found["now"].append(run(str(HERE)))
    out: dict[str, dict[str, Any]] = {}
    for kind in SLOTS:
        rows = {
            version: {key: round(median(one[kind][key] for one in runs), 1) for key in runs[0][kind]}
            for version, runs in found.items()
        }
        out[kind] = {**rows, "times": round(rows["now"]["tokens_per_s"] / rows["before"]["tokens_per_s"], 2)}
    RESULT.write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
