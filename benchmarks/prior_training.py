"""How soon the denoiser of the priors learns, beside the U-Nets of two diffusion libraries, in one interleaved run.

Same task, crops, noise, batch (32 crops of 32 x 32, colour), optimizer (AdamW, the same learning rate, clipping and
warm-up), precision (bfloat16 autocast) and one thread. Each network takes a step when it has used the least processor
time so far, so that a busy machine slows all alike. Validation loss on 256 crops of photographs that training never
sees, with fixed noise, is read every `EVERY` steps; its cost is not counted.

    python -m pip install --no-deps --target PEERS diffusers requests charset_normalizer idna urllib3 certifi \\
        denoising-diffusion-pytorch ema-pytorch pytorch-fid
    PYTHONPATH=PEERS VQFUSION_DATA=... python benchmarks/prior_training.py --seconds 200
"""

import argparse
import json
import platform
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from vqfusion.config import PriorConfig
from vqfusion.diffusion.gaussian.path import scale
from vqfusion.models.restoration.prior import NoisyBatch, Prior
from vqfusion.nn.bfloat16 import has_bfloat16
from vqfusion.nn.weights import count_parameters
from vqfusion.train.restoration.data import load_signals, open_data
from vqfusion.train.restoration.recipe import photo_prior
from vqfusion.train.restoration.trainer import noisy_batches

CROP, BATCH, EVERY, RATE, WARM = 32, 32, 10, 1e-3, 20
RESULT = Path(__file__).parent / "results" / "prior_training.json"


class Peer(nn.Module):
    """A U-Net that predicts the noise from data scaled to unit variance and log sigma, as in Karras et al. (2022)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        said = self.network(scale(noisy, 1 / (sigma.square() + 0.25**2).sqrt()), 250 * sigma.log())
        return scale(getattr(said, "sample", said).float(), sigma)


class Ours(nn.Module):
    """The network of a prior, told the level."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Prior(PriorConfig(channels=3)).network

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        return self.network(noisy, sigma).float()


def build() -> dict[str, nn.Module]:
    from diffusers import UNet2DModel

    stand_in = types.ModuleType("torchvision")  # lucidrains imports it for its data loader, which is not used
    stand_in.__dict__.update(transforms=types.ModuleType("transforms"), utils=types.ModuleType("utils"))
    sys.modules.setdefault("torchvision", stand_in)
    from denoising_diffusion_pytorch import Unet

    torch.manual_seed(0)
    ours = Ours()
    diffusers = UNet2DModel(
        sample_size=CROP,
        in_channels=3,
        out_channels=3,
        block_out_channels=(64, 128, 128),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    )
    lucidrains = Unet(dim=32, dim_mults=(1, 2, 4, 6), channels=3)
    return {"vqfusion": ours, "diffusers": Peer(diffusers), "lucidrains": Peer(lucidrains)}


class Run:
    """One network with its optimizer, its clock and its record."""

    def __init__(self, network: nn.Module, validation: NoisyBatch):
        self.network, self.validation = network, validation
        self.optimizer = torch.optim.AdamW(network.parameters(), RATE, betas=(0.9, 0.99), weight_decay=0.0)
        self.steps, self.used = 0, 0.0
        self.step_s: list[float] = []
        self.record: list[dict[str, float]] = []

    def loss(self, batch: NoisyBatch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
            noise = self.network(batch.noisy - 0.5, batch.level.flatten(1)[:, 0])
        return ((batch.noisy - noise - batch.clean).square() / batch.remains).mean()

    def step(self, batch: NoisyBatch) -> None:
        if self.steps % EVERY == 0:
            self.measure()
        started = time.process_time()
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (self.steps + 1) / WARM)
        self.network.train()
        self.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step_s.append(time.process_time() - started)
        self.used += self.step_s[-1]
        self.steps += 1

    @torch.no_grad()
    def measure(self) -> None:
        self.network.eval()
        loss = float(self.loss(self.validation))
        self.record.append({"steps": self.steps, "cpu_s": round(self.used, 3), "loss": round(loss, 5)})

    @torch.no_grad()
    def call_ms(self, batch: NoisyBatch) -> float:
        times = []
        for _ in range(5):
            started = time.process_time()
            self.loss(batch)
            times.append(time.process_time() - started)
        return 1000 * statistics.median(times)

    def activation_bytes(self, batch: NoisyBatch) -> int:
        kept: dict[int, int] = {}
        own = {p.data_ptr() for p in self.network.parameters()}

        def weigh(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(weigh, lambda tensor: tensor):
            self.loss(batch)
        return sum(kept.values())


def first_at(record: list[dict[str, float]], loss: float) -> float | None:
    """Processor seconds after which the validation loss is first at most this."""
    return next((row["cpu_s"] for row in record if row["loss"] <= loss), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=200, help="processor time of each network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recipe = photo_prior()
    stage = recipe.stage.model_copy(update={"batch": BATCH})
    recipe = recipe.model_copy(update={"stage": stage, "crop": CROP, "seed": arguments.seed, "blind": 0.0})
    data = open_data(recipe)
    batches = noisy_batches(load_signals(recipe, data), recipe)
    held = noisy_batches(load_signals(recipe, data, "val"), recipe.model_copy(update={"seed": arguments.seed + 1}))
    validation = NoisyBatch(*(torch.cat(parts) for parts in zip(*(held(i, 0, 1) for i in range(8)), strict=True)))
    runs = {name: Run(network, validation) for name, network in build().items()}
    while min(run.used for run in runs.values()) < arguments.seconds:
        run = min(runs.values(), key=lambda one: one.used)
        run.step(batches(run.steps, 0, 1))
    rows: dict[str, Any] = {}
    for name, run in runs.items():
        run.measure()
        rows[name] = {
            "parameters": count_parameters(run.network),
            "step_ms": round(1000 * statistics.median(run.step_s), 1),
            "call_ms": round(run.call_ms(batches(0, 0, 1)), 1),
            "state_mib": round(4 * 4 * count_parameters(run.network) / 2**20, 1),
            "activations_mib": round(run.activation_bytes(batches(0, 0, 1)) / 2**20, 1),
            "steps": run.steps,
            "loss": run.record[-1]["loss"],
            "record": run.record,
        }
    reached = first_at(rows["vqfusion"]["record"], min(row["loss"] for row in rows["diffusers"]["record"]))
    last = rows["diffusers"]["record"][-1]["cpu_s"]
    summary = {
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
        "seed": arguments.seed,
        "cpu_s_each": arguments.seconds,
        "share_of_the_cpu_time_of_diffusers": round(reached / last, 3) if reached is not None else None,
        "target": "at most 0.667",
        "networks": rows,
    }
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(summary, indent=1) + "\n")
    for name, row in rows.items():
        print(name, {key: value for key, value in row.items() if key != "record"})
    print("share of the processor time of diffusers:", summary["share_of_the_cpu_time_of_diffusers"])


if __name__ == "__main__":
    main()
