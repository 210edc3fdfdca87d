"""The feature networks of the Fréchet distances: one small classifier for each of the three sets of 32 x 32.

Trained once and kept in `benchmarks/features/`, because distances under two networks cannot be compared.

    python benchmarks/features.py          # prints the accuracy of those that are kept
    python benchmarks/features.py --train  # trains them again, about 3 minutes on 2 cores
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from common.pictures32 import Set32, load

from vqfusion.config import StageConfig
from vqfusion.evaluate.frechet import FeatureNetwork
from vqfusion.nn.weights import load_weights, save_weights
from vqfusion.train.loop.accelerator import make_accelerator
from vqfusion.train.loop.fit import fit
from vqfusion.train.loop.steps import share, step_generator

FOLDER = Path(__file__).parent / "features"
RESULT = Path(__file__).parent / "results" / "features.json"
CLASSES = 10


def feature_network(name: str) -> FeatureNetwork:
    """The network that is kept for a set."""
    network = FeatureNetwork(CLASSES)
    network.load_state_dict({key: value.float() for key, value in load_weights(FOLDER / f"{name}.safetensors").items()})
    return network.eval()


def train(data: Set32) -> FeatureNetwork:
    """1,000 steps of 64 pictures, each shifted by up to 2 pixels."""
    stage = StageConfig(steps=1000, batch=64, learning_rate=2e-3)

    def batches(step: int, rank: int, processes: int):
        generator = step_generator(0, step)
        chosen = torch.randint(len(data.train), (stage.batch,), generator=generator)
        mine = torch.tensor(share(chosen.tolist(), rank, processes))
        down, right = torch.randint(-2, 3, (2,), generator=generator).tolist()
        return data.train[mine].roll((down, right), (2, 3)), data.train_labels[mine]

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        network, accelerator = FeatureNetwork(CLASSES), make_accelerator("cpu")
        return fit(network, batches, stage, Path(folder) / data.name, data.name, accelerator)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", action="store_true")
    again, report = parser.parse_args().train, {}
    for name in ("mnist", "fashion", "speech"):
        data = load(name)
        if again:
            with torch.enable_grad():
                network = train(data)
            half = {key: value.half() for key, value in network.state_dict().items()}
            save_weights(FOLDER / f"{name}.safetensors", half)
        network = feature_network(name)
        right = torch.cat([network(part).argmax(1) for part in data.test.split(500)]) == data.test_labels
        report[name] = {"test_accuracy": round(float(right.float().mean()), 4), "test": len(right)}
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
