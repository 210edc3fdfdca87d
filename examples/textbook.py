"""The textbook: a VQ-VAE with a diffusion decoder, its weights, one test picture and its reconstruction.

    python examples/textbook.py [--weights FILE.safetensors] [--steps 400] [--output textbook.png]

Without weights the model is first trained on scikit-learn's 8 x 8 digits, which come with the library: about a minute
on two processor cores.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from vqfusion import DiffusionModel, VectorQuantizer, VQVAEDecoder, VQVAEEncoder, open_dataset


def build() -> DiffusionModel:
    """Pictures of 8 x 8 values to 4 x 4 codes of 64, and back."""
    encoder = VQVAEEncoder(in_channels=1, dim=16, widths=(32, 64), depths=(1, 1))
    decoder = VQVAEDecoder(out_channels=1, dim=16, widths=(32, 64), depths=(1, 1))
    quantizer = VectorQuantizer(num_embeddings=64, embedding_dim=16)
    return DiffusionModel(encoder, decoder, quantizer, width=24)


def digits(split: str) -> torch.Tensor:
    """Pictures `[N, 1, 8, 8]` in [-1, 1]."""
    records = open_dataset("digits").select(split=split)
    return torch.stack([record.load("image").data for record in records]) * 2 - 1


def train(model: DiffusionModel, steps: int) -> DiffusionModel:
    """All parts together, by the loop that trains everything in the library."""
    from vqfusion.config import StageConfig
    from vqfusion.train.fusion.trainer import make_accelerator
    from vqfusion.train.loop.fit import fit

    pictures = digits("train")

    def batches(step: int, rank: int, processes: int) -> torch.Tensor:
        chosen = torch.randint(len(pictures), (64,), generator=torch.Generator().manual_seed(step))
        return pictures[chosen]

    stage = StageConfig(steps=steps, batch=64, learning_rate=2e-3, warmup_steps=20, ema_decay=0.99, precision="fp32")
    with tempfile.TemporaryDirectory() as folder:
        return fit(model, batches, stage, Path(folder) / "digits", "textbook", make_accelerator("cpu"))


def show(pictures: torch.Tensor, titles: list[str], path: Path) -> None:
    """Pictures side by side, by matplotlib where it is installed, else written by Pillow."""
    grey = (pictures[:, 0] * 0.5 + 0.5).clamp(0, 1)
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        from PIL import Image

        row = torch.cat(list(torch.nn.functional.pad(grey, (0, 1), value=1.0)), dim=1)
        picture = Image.fromarray((row * 255).round().byte().numpy())
        picture.resize((picture.width * 16, picture.height * 16), Image.Resampling.NEAREST).save(path)
    else:
        figure, axes = plt.subplots(1, len(grey), figsize=(2 * len(grey), 2.4))
        for axis, one, title in zip(axes, grey, titles, strict=True):
            axis.imshow(one, cmap="gray", vmin=0, vmax=1)
            axis.set_title(title)
            axis.axis("off")
        figure.savefig(path)
    print(f"{', '.join(titles)}: {path}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A VQ-VAE with a diffusion decoder on digits.")
    parser.add_argument("--weights", type=Path, help="weights that an earlier run saved")
    parser.add_argument("--steps", type=int, default=400, help="training steps if there are no weights")
    parser.add_argument("--output", type=Path, default=Path("textbook.png"))
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    model = build()
    if options.weights:
        model.load_weights(options.weights)
    else:
        print(f"no --weights given: training on the built-in digits for {options.steps} steps, about a minute")
        train(model, options.steps)
        weights = options.output.with_suffix(".safetensors")
        model.save_weights(weights)
        print(f"weights: {weights}")

    x = digits("test")
    sample, mean = model(x), model(x, mode="mean")
    for name, out in (("sample", sample), ("mean", mean)):
        psnr = -10 * torch.log10((out - x).square().mean() / 4)
        print(f"{name}: {float(psnr):.1f} dB over {len(x)} test pictures of {model.encode(x[:1]).numel()} codes each")
    show(torch.stack([x[0], sample[0], mean[0]]), ["original", "sample", "mean"], options.output)


if __name__ == "__main__":
    main()
