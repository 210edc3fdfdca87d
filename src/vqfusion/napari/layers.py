"""What the widgets do, on arrays of layers; needs neither napari nor a display."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqfusion.errors import UserError
from vqfusion.hub import load
from vqfusion.tasks import TASKS, Answer
from vqfusion.types import Sample

PLANE, STACK = "photo", "volume"  # priors for layers of two and of three axes


def denoised(layer: np.ndarray, sigma: float | None = None, model: str | None = None, rgb: bool = False) -> np.ndarray:
    """The layer without its noise, of the same shape and type.

    Args:
        layer: `[Y, X]` or `[Z, Y, X]` in any unit; with `rgb` `[Y, X, 3]` of 0 to 255, or floats in [0, 1].
        sigma: Standard deviation of the noise in the units of the layer; None estimates it.
        model: Prior; None takes that for pictures or volumes.
        rgb: Whether the last axis holds colours.

    Returns:
        The layer.
    """
    return _as_layer(_answer(layer, sigma, None, model, rgb).samples[0][0], layer, rgb)


def interval(
    layer: np.ndarray, coverage: float = 0.9, sigma: float | None = None, model: str | None = None, rgb: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimate, lower and upper ends of intervals that hold the share `coverage` of the true values.

    Args:
        layer: As in `denoised`.
        coverage: Share between 0 and 1.
        sigma: As in `denoised`.
        model: As in `denoised`.
        rgb: As in `denoised`.

    Returns:
        Three layers.
    """
    answer = _answer(layer, sigma, coverage, model, rgb)
    found = answer.findings[0]
    mean, lower, upper = (_as_layer(one, layer, rgb) for one in (answer.samples[0][0], found.lower, found.upper))
    return mean, lower, upper


def trained(layer: np.ndarray, folder: str | Path, steps: int = 1000, model_name: str = "layer") -> Path:
    """Train a prior on the noise of a layer alone, without clean data; see `prior: {clean: false}`.

    Args:
        layer: `[Y, X]` or `[Z, Y, X]`.
        folder: Empty or new folder for the data and the model; a training that was stopped goes on.
        steps: Optimizer steps.
        model_name: Name of the model.

    Returns:
        Folder of the model, for `model` of `denoised`.
    """
    from vqfusion.config import PriorTrainingConfig
    from vqfusion.train.recipes import recipe
    from vqfusion.train.restoration.trainer import train

    folder = Path(folder)
    data, plan = folder / "data", folder / f"{model_name}.yaml"
    data.mkdir(parents=True, exist_ok=True)
    np.save(data / "layer.npy", _stack(layer))
    lines = f"name: {model_name}\ndata: data\nprior: {{clean: false}}\nstage: {{steps: {steps}}}\n"
    plan.write_text(lines, encoding="utf-8")
    training = recipe(str(plan))
    assert isinstance(training, PriorTrainingConfig)
    train(training, folder / model_name, show=False)
    _opened.cache_clear()
    return folder / model_name


def _answer(layer: np.ndarray, sigma: float | None, coverage: float | None, model: str | None, rgb: bool) -> Answer:
    if rgb:
        from vqfusion.data.convert import as_sample

        sample = as_sample(torch.from_numpy(np.ascontiguousarray(layer[..., :3])).permute(2, 0, 1))
        sigma = None if sigma is None else sigma / (1 if layer.dtype.kind == "f" else np.iinfo(layer.dtype).max)
    else:
        sample = Sample("volume", torch.from_numpy(_stack(layer).astype(np.float32))[None])
    prior = _opened(model or (PLANE if layer.ndim == 2 or rgb else STACK))
    options: dict[str, Any] = {"sigma": sigma} | ({} if coverage is None else {"interval": coverage})
    return TASKS["denoise"](**options)(prior, sample)


def _stack(layer: np.ndarray) -> np.ndarray:
    """The layer as `[Z, Y, X]`."""
    if layer.ndim not in (2, 3):
        raise UserError(f"the layer has {layer.ndim} axes; choose a plane [Y, X] or a stack [Z, Y, X] of it")
    return np.asarray(layer)[None] if layer.ndim == 2 else np.asarray(layer)


def _as_layer(made: Sample | None, layer: np.ndarray, rgb: bool) -> np.ndarray:
    """A result in the shape and type of the layer; integers are rounded and clipped."""
    assert made is not None
    whole = layer.dtype.kind in "iu"
    values = made.data.permute(1, 2, 0).numpy() if rgb else made.data[0].numpy().reshape(layer.shape)
    if rgb and whole:
        values = values * np.iinfo(layer.dtype).max
    if whole:
        return values.round().clip(np.iinfo(layer.dtype).min, np.iinfo(layer.dtype).max).astype(layer.dtype)
    return values.astype(layer.dtype)


@cache
def _opened(model: str) -> Any:
    prior = load(model)
    if getattr(prior, "kind", "") != "prior":
        raise UserError(f"model {model!r} is no prior; choose one such as {PLANE}")
    return prior
