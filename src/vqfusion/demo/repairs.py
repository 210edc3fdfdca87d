"""Sections of the demo on damaged pictures, restored by the model over codes and by a prior."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vqfusion.demo.stage import Section, Stage, name_of
from vqfusion.diffusion.noise import torch_seed
from vqfusion.diffusion.operators import Denoise, Downsample, Mask, Operator
from vqfusion.evaluate.metrics import psnr
from vqfusion.models.restoration.restoring import restore
from vqfusion.pages import page
from vqfusion.types import Sample


def inpaint(stage: Stage) -> Section:
    """Pictures with a box filled in."""
    asked = stage.unseen_pictures(6, "inpaint", "text:en")
    whole = stage.pictures(asked)
    side = stage.system.image_size
    keep = torch.ones(side, side, dtype=torch.bool)
    keep[side // 4 : 3 * side // 4, side // 2 :] = False  # a box over the right half of the middle
    holes = torch.where(keep, whole, torch.full_like(whole, 0.5))
    filled = stage.fill([Sample("image", picture) for picture in whole], keep)
    return _repaired(
        stage,
        asked,
        {"hole": holes, "codes": filled, **_by_prior(stage, whole, Mask(keep)), "original": whole},
        "Fill in what is missing",
        "The grey box is unknown. The model over codes samples every code whose cell touches it; the prior, which was "
        "trained on photographs only, estimates the mean of every pixel.",
        "vqfusion inpaint picture.png --mask box.png -o whole.png --model emoji",
        best="codes",
    )


def upscale(stage: Stage) -> Section:
    """Pictures enlarged from 16 pixels."""
    asked = stage.unseen_pictures(6, "upscale", "text:en")
    whole = stage.pictures(asked)
    small = interpolate(whole, (16, 16), mode="area")
    bicubic = interpolate(small, whole.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1)
    large = stage.pictures(stage.generate({"image@16": [Sample("image", p) for p in small]}, "image"))
    operator = Downsample(whole.shape[-1] // 16, kernel="area")
    sharp = _by_prior(stage, small, operator) if whole.shape[-1] % 16 == 0 else {}
    return _repaired(
        stage,
        asked,
        {"16 pixels": small, "bicubic": bicubic, "codes": large, **sharp, "original": whole},
        f"Enlarge {whole.shape[-1] / 16:.3g} times",
        f"From 16 to {whole.shape[-1]} pixels a side. The details by codes are invented: a sample, not a measurement. "
        "The prior estimates the mean of all plausible pictures.",
        f"vqfusion upscale small.png --scale {whole.shape[-1] // 16} -o large.png",
    )


def denoise(stage: Stage) -> Section:
    """Pictures with noise removed."""
    asked = stage.unseen_pictures(6, "denoise", "text:en")
    whole = stage.pictures(asked)
    sigma = stage.system.config.image_noise_sigma
    generator = torch.Generator().manual_seed(torch_seed(stage.seed))
    noisy = whole + sigma * torch.randn(whole.shape, generator=generator)
    clean = stage.pictures(stage.generate({"image@noisy": [Sample("image", p) for p in noisy]}, "image"))
    return _repaired(
        stage,
        asked,
        {"noisy": noisy.clamp(0, 1), "codes": clean, **_by_prior(stage, noisy, Denoise(sigma)), "original": whole},
        "Clean a noisy picture",
        f"Gaussian noise of {255 * sigma:.0f}/255 was added. The quality of the model over codes is limited by its "
        "tokenizer; a prior has no such limit.",
        "vqfusion denoise noisy.png -o clean.png",
    )


def _by_prior(stage: Stage, damaged: Tensor, operator: Operator) -> dict[str, Tensor]:
    """Row of the estimates of the prior; empty without a prior for such pictures."""
    prior = stage.prior
    if prior is None or prior.config.channels != damaged.shape[1]:
        return {}
    return {"prior": restore(prior, damaged, operator).mean.clamp(0, 1)}


def _repaired(
    stage: Stage,
    asked: list,
    sheets: dict[str, Tensor],
    title: str,
    about: str,
    command: str,
    best: str = "prior",
) -> Section:
    """Section with pictures before and after, with PSNR against the original where sizes agree.

    `best` names the row that the montage shows, if it is there.
    """
    whole = sheets["original"]
    captions = {}
    for kind, sheet in sheets.items():
        same = kind != "original" and sheet.shape == whole.shape
        values = psnr(sheet, whole).tolist() if same else [None] * len(asked)
        captions[kind] = [kind if v is None else f"{kind}, {v:.1f} dB" for v in values]
    tiles, items = [], []
    for i, record in enumerate(asked):
        parts = [
            page.picture(sheet[i], captions[kind][i], "small" if sheet.shape[-1] < whole.shape[-1] else "")
            for kind, sheet in sheets.items()
        ]
        tiles.append(page.joined(page.word(name_of(record)), page.tag(record.held_out), page.strip(parts)))
        items.append(
            {"name": name_of(record), "held_out": record.held_out, "shown": [captions[kind][i] for kind in sheets]}
        )
    shown = [list(sheets)[0], best if best in sheets else "codes"]
    pairs = [(captions[kind][i], sheets[kind][i]) for i in range(len(asked)) for kind in shown]
    return Section(title, about, command, page.grid(tiles, 430), items, pictures=pairs)
