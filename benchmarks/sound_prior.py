"""The shipped sound prior on voices that it never heard: white noise of 0.02 and 0.05 in real and synthetic speech.

Clips of the speakers that the set `speech` holds out, and of the voices that the emoji set holds out; noise from a seed
for each clip. Scale-invariant SDR and SNR in dB, means over clips. The Wiener filter is decision-directed (Ephraim,
Malah, 1984) with the true noise power; its smoothing is the usual 0.98.

    VQFUSION_DATA=DIR python benchmarks/sound_prior.py --model sound
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqfusion.data import open_dataset
from vqfusion.data.transforms import resample

SIGMAS = (0.02, 0.05)
CLIPS, WINDOW, HOP, SMOOTHING = 40, 512, 128, 0.98
RESULT = Path(__file__).parent / "results" / "sound_prior.json"


def wiener(noisy: Tensor, sigma: float) -> Tensor:
    """Gain snr / (1 + snr), the a-priori SNR followed from frame to frame; `[T]` to `[T]`."""
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(noisy, WINDOW, HOP, window=window, return_complex=True)
    noise = sigma**2 * float(window.square().sum())
    cleaned, before = torch.empty_like(spectrum), torch.zeros(spectrum.shape[0])
    for frame in range(spectrum.shape[1]):
        power = spectrum[:, frame].abs().square() / noise
        snr = SMOOTHING * before + (1 - SMOOTHING) * (power - 1).clamp(min=0)
        gain = snr / (1 + snr)
        cleaned[:, frame] = gain * spectrum[:, frame]
        before = gain.square() * power
    return torch.istft(cleaned, WINDOW, HOP, window=window, length=len(noisy))


def si_sdr(truth: Tensor, answer: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB: Le Roux et al. (2019), eq. 3."""
    target = (answer @ truth) / (truth @ truth) * truth
    return float(10 * (target.square().sum() / (answer - target).square().sum()).log10())


def snr(truth: Tensor, answer: Tensor) -> float:
    return float(10 * (truth.square().sum() / (answer - truth).square().sum()).log10())


def compared(prior: Any, clips: list[Tensor], sigma: float, seed: int) -> dict[str, tuple[float, float]]:
    """Mean SI-SDR and SNR of each method over clips."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for index, clean in enumerate(clips):
        generator = torch.Generator().manual_seed(seed + index)
        noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
        with torch.no_grad():
            answers = {
                "noisy": noisy,
                "wiener": wiener(noisy, sigma),
                "prior, blind": prior.denoise(noisy[None, None])[0, 0],
                "prior, told": prior.denoise(noisy[None, None], sigma)[0, 0],
            }
        for name, answer in answers.items():
            rows.setdefault(name, []).append((si_sdr(clean, answer), snr(clean, answer)))
    return {name: tuple(round(sum(c) / len(c), 2) for c in zip(*row, strict=True)) for name, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sound", help="name of the zoo or folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import vqfusion

    prior = vqfusion.load(arguments.model, "cpu")
    report: dict[str, Any] = {"model": arguments.model, "seed": arguments.seed, "clips": CLIPS, "sets": {}}
    for name in ("speech", "emoji"):
        records = open_dataset(name).select(split="test", held_out="voice", slots=("audio",))
        clips = [record.load("audio") for record in records[:: max(1, len(records) // CLIPS)][:CLIPS]]
        clips = [resample(clip, prior.config.sample_rate_hz).data[0] for clip in clips]
        report["sets"][name] = scores = {}
        for sigma in SIGMAS:
            scores[str(sigma)] = compared(prior, clips, sigma, arguments.seed)
            for method, (a, b) in scores[str(sigma)].items():
                print(f"{name}, noise {sigma}: {method:14} SI-SDR {a:6.2f} dB  SNR {b:6.2f} dB", flush=True)
    arguments.output.parent.mkdir(exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
