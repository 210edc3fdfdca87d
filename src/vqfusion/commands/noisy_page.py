"""Page and JSON that say whether a training without clean data worked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqfusion.commands import outputs
from vqfusion.pages import page

if TYPE_CHECKING:
    from torch import Tensor

    from vqfusion.config import PriorTrainingConfig
    from vqfusion.data import Dataset
    from vqfusion.models.restoration.prior import Prior
    from vqfusion.types import Sample

SHOWN, SIDE = 3, 256  # signals that are shown, and side of the part that is
NAMES = {"prior": "this training", "identity": "the noisy signal as it is"}


def judge_training(prior: "Prior", training: "PriorTrainingConfig", data: "Dataset", folder: Path) -> dict[str, Any]:
    """Judge a prior on the noisy data that it learned from; writes `report.json`, `report.html` and its intervals."""
    from vqfusion.train.restoration.noisy.signals import load

    noisy = load(training.model_copy(update={"prior": prior.config}), data)
    found, calibration = judged(prior, noisy.signals, noisy.names, folder / "report.html", folder / "report.json")
    if calibration is not None and (folder / "prior.safetensors").is_file():
        from vqfusion.models.restoration.shipped_intervals import ShippedIntervals

        measured = {"all": found["covered"]} if found["covered"] is not None else {}
        about = "the noisy data that it learned from, estimated without clean ones"
        ShippedIntervals(calibration, measured, about).save(folder, "denoise")
    return found


def judge_inputs(model: str, samples: "Sequence[Sample]", names: Sequence[str], folder: Path) -> str | None:
    """Judge what a prior makes of noisy inputs; writes `noise.html` and `noise.json` and returns the verdict.

    None for priors that learned from clean data.
    """
    from vqfusion.hub import load
    from vqfusion.models.restoration.fitted import FittedSample
    from vqfusion.models.restoration.prior import Prior

    prior = load(model)
    if not isinstance(prior, Prior) or prior.config.noise is None:
        return None
    pairs = zip(names, samples, strict=True)
    fitted = [(name, one) for name, sample in pairs for one in FittedSample.of(sample, prior).y]
    found, _ = judged(
        prior, [one for _, one in fitted], [name for name, _ in fitted], folder / "noise.html", folder / "noise.json"
    )
    return str(found["verdict"])


def judged(
    prior: "Prior", signals: "Sequence[Tensor]", names: Sequence[str], html: Path, numbers: Path
) -> tuple[dict[str, Any], Any]:
    """Judge a prior on noisy signals `[C, *size]` in its units, and write the page and its numbers.

    Args:
        prior: Prior that learned from noisy data alone.
        signals: The signals.
        names: Name of each.
        html: File of the page.
        numbers: File of the numbers.

    Returns:
        The numbers, and the calibration of the intervals.
    """
    from vqfusion.evaluate.noisy.judge import judge
    from vqfusion.evaluate.noisy.verdict import report, verdict

    assert prior.config.noise is not None
    facts, calibration = judge(prior, signals)
    found = report(facts, verdict(facts, prior.config.noise))
    found["noise_model"] = prior.config.noise.model_dump(mode="json")
    outputs.write_json(numbers, json.loads(json.dumps(found)))
    outputs.write_bytes(html, _page(prior, signals, names, found).encode(errors="backslashreplace"))
    return found, calibration


def _page(prior: "Prior", signals: "Sequence[Tensor]", names: Sequence[str], found: dict[str, Any]) -> str:
    """The whole page."""
    noise = found["noise_model"]
    sections: dict[str, str] = {}
    lines = found["verdict"].partition(": ")[2].split("; ")
    words = [page.paragraph(line, "about" if found["works"] else "warn") for line in lines]
    title = "It worked" if found["works"] else "It did not work"
    sections["verdict"] = page.section("verdict", title, "", "", page.joined(*words))
    rows = [
        (NAMES.get(name, name), f"{found['risk'][name]:.3f}", f"{value:.3f}") for name, value in found["hidden"].items()
    ]
    head = ("", "estimated error against the clean signal", "difference from held-out noisy values")
    about = (
        "In units of the variance of the noise; less is better. The first is an unbiased estimate (Stein, 1981), the "
        "second is at values that were hidden from each method, whose own noise adds 1."
    )
    sections["errors"] = page.section(
        "errors", "Errors beside methods that need no training", about, "", page.table(head, rows)
    )
    sections["residual"] = page.section(
        "residual", "What was taken away", _of_residual(found), "", page.joined(_lags(found), _spectrum(found))
    )
    sections["error bars"] = page.section("error bars", "Error bars", _of_intervals(found), "", "")
    pictures = [_views(prior, signal, name) for signal, name in list(zip(signals, names, strict=True))[:SHOWN]]
    text = "Before, after, and what was taken away, where grey is nothing; it should look like noise."
    sections["signals"] = page.section("signals", "To look at", text, "", page.joined(*pictures))
    chips = [
        f"method {noise['method']}",
        f"noise {found['sigma']:.3g} in units of the prior",
        f"{found['elements']} values",
    ]
    about = "Judged on noisy data alone: no clean signal was seen, in training or here."
    return page.page("Did it work?", about, chips, sections, "The numbers are in the JSON file beside this page.")


def _of_residual(found: dict[str, Any]) -> str:
    white = found["white"]
    said = "is white" if found["is_white"] else "is not exactly white"
    share, level = f"{100 * found['residual']:.0f} %", f"level {white['level']:g}"
    return (
        f"The residual, noisy minus denoised, has {share} of the variance of the noise and {said} (probability "
        f"{white['p']:.2g} for white noise, {level}); its largest autocorrelation is {white['largest']:.3f}. Slightly "
        "negative values between neighbours are usual: a good estimate follows the noise a little. Positive ones at a "
        "distance are structure that was lost."
    )


def _of_intervals(found: dict[str, Any]) -> str:
    if found["covered"] is None:
        return "The error is too small beside the noise to be told from few values: no error bars were made."
    text = (
        f"90 % intervals of the clean values are estimated to hold {100 * found['covered']:.1f} % "
        f"(standard error {100 * found['covered_error']:.1f}), on other values than those that calibrated them."
    )
    if found["covered_noisy"] is not None:
        text += f" Widened by the noise, they hold {100 * found['covered_noisy']:.1f} % of held-out noisy values."
    return text


def _lags(found: dict[str, Any]) -> str:
    rows = [
        (f"axis {axis + 1}", *(f"{value:.3f}" for value in row)) for axis, row in enumerate(found["white"]["along"])
    ]
    head = ("autocorrelation at distance", *(str(lag + 1) for lag in range(max(len(r) - 1 for r in rows))))
    return page.table(head, rows)


def _spectrum(found: dict[str, Any]) -> str:
    highest = max(2.0, *found["bands"])
    heights = [60 * value / highest for value in found["bands"]]
    return page.histogram(
        heights, "Spectrum of the residual, low frequencies left; all bars are alike for white noise."
    )


def _views(prior: "Prior", signal: "Tensor", name: str) -> str:
    """Noisy signal, estimate and residual: the middle slice as pictures, or curves."""
    import torch

    from vqfusion.models.restoration.any_size import AnySizePrior
    from vqfusion.models.restoration.own_noise import own_level

    y = signal[None, :, : 8 * SIDE] if signal.ndim == 2 else signal[None]
    for axis in range(2, y.ndim if signal.ndim > 2 else 2):
        length = min(SIDE, y.shape[axis])
        y = y.narrow(axis, (y.shape[axis] - length) // 2, length)
    with torch.no_grad():
        sigma = own_level(prior, y)
        made = AnySizePrior(prior).denoise(y, sigma)
    before, after = y[0], made[0]
    if signal.ndim == 4:
        before, after = (x[:, x.shape[1] // 2] for x in (before, after))
    low, high = (float(before.flatten().quantile(share)) for share in (0.002, 0.998))
    spread = (high - low) or 1.0
    rest = 0.5 + (before - after) / (6 * float(sigma.mean()) or 1.0)
    if signal.ndim == 2:
        points = [
            [
                f"{1000 * i / max(1, x.shape[1] - 1):.1f},{140 - 130 * (v - low) / spread:.1f}"
                for i, v in enumerate(x[0].tolist())
            ]
            for x in (before[:, ::4], after[:, ::4])
        ]
        return page.joined(page.paragraph(name), page.curve("", [" ".join(points[0])], [" ".join(points[1])]))
    shown = [((x - low) / spread).clamp(0, 1) for x in (before, after)] + [rest.clamp(0, 1)]
    captions = (f"{name}: before", "after", "taken away")
    kept = [x if len(x) in (1, 3) else x[:1] for x in shown]
    return page.row("four", [page.picture(x, caption) for x, caption in zip(kept, captions, strict=True)])
