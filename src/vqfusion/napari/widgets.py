"""Widgets of the plugin, made by magicgui from annotated functions; new layers stand beside the open one."""

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui import magic_factory

from vqfusion.napari.layers import denoised, interval, trained

if TYPE_CHECKING:
    import napari.layers
    import napari.types

ESTIMATED = 0.0  # a noise level of 0 in a widget is one to be estimated


@magic_factory(call_button="Denoise", sigma={"min": 0.0, "max": 1e9, "label": "noise level (0: estimate)"})
def denoise_widget(
    layer: "napari.layers.Image", sigma: float = ESTIMATED, model: str = ""
) -> "napari.types.LayerDataTuple":
    """Denoise the layer; an empty model is the shipped prior."""
    made = denoised(layer.data, sigma or None, model or None, layer.rgb)
    return made, {"name": f"{layer.name} denoised", "scale": layer.scale}, "image"


@magic_factory(
    call_button="Denoise",
    coverage={"min": 0.01, "max": 0.99, "step": 0.01},
    sigma={"min": 0.0, "max": 1e9, "label": "noise level (0: estimate)"},
)
def interval_widget(
    layer: "napari.layers.Image", coverage: float = 0.9, sigma: float = ESTIMATED, model: str = ""
) -> "list[napari.types.LayerDataTuple]":
    """Denoise the layer, with lower and upper ends of intervals."""
    parts = interval(layer.data, coverage, sigma or None, model or None, layer.rgb)
    names = ("denoised", "lower", "upper")
    return [
        (made, {"name": f"{layer.name} {what}", "scale": layer.scale, "visible": what == "denoised"}, "image")
        for made, what in zip(parts, names, strict=True)
    ]


@magic_factory(call_button="Train", folder={"mode": "d"}, steps={"min": 1, "max": 1_000_000})
def train_widget(
    layer: "napari.layers.Image", folder: Path = Path("vqfusion-layer"), steps: int = 1000
) -> "napari.types.LayerDataTuple":
    """Train on the noise of the layer alone, and denoise it with the result."""
    model = trained(layer.data, folder, steps)
    return denoised(layer.data, None, str(model)), {"name": f"{layer.name} by its own prior"}, "image"
