"""The napari plugin: its manifest, and what its widgets do, without a display."""

from pathlib import Path

import numpy as np
import pytest
import yaml

import vqfusion
from vqfusion import UserError
from vqfusion.napari import denoised, interval, trained

MANIFEST = Path(vqfusion.__file__).parent / "napari" / "napari.yaml"


def test_the_manifest_names_what_is_there():
    commands = yaml.safe_load(MANIFEST.read_text())["contributions"]["commands"]
    source = (MANIFEST.parent / "widgets.py").read_text()
    for command in commands:
        module, name = command["python_name"].split(":")
        assert module == "vqfusion.napari.widgets" and f"def {name}(" in source


def test_the_widgets_are_made_without_a_display():
    pytest.importorskip("magicgui")
    from vqfusion.napari import widgets

    for command in yaml.safe_load(MANIFEST.read_text())["contributions"]["commands"]:
        assert callable(getattr(widgets, command["python_name"].split(":")[1]))


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.uint8])
def test_layers_keep_shape_and_type(prior, kind):
    plane = (1000 + 100 * np.random.default_rng(0).standard_normal((40, 36))).clip(0).astype(kind)
    made = denoised(plane, 50.0, prior)
    assert made.shape == plane.shape and made.dtype == kind
    stack = np.stack([plane, plane])
    assert denoised(stack, 50.0, prior).shape == stack.shape


def test_intervals_of_a_layer(prior):
    mean, lower, upper = interval(np.random.default_rng(0).random((16, 16), np.float32), 0.8, 0.1, prior)
    assert (lower <= upper).all() and mean.shape == (16, 16)


def test_training_on_the_noise_of_a_layer(tmp_path):
    layer = np.random.default_rng(0).normal(100, 10, (64, 64)).astype(np.float32)
    model = trained(layer, tmp_path, steps=2)
    assert denoised(layer, None, str(model)).shape == layer.shape


def test_mistakes_are_one_line(prior):
    with pytest.raises(UserError, match="axes"):
        denoised(np.zeros((2, 2, 2, 2), np.float32), 1.0, prior)
    with pytest.raises(UserError, match="no prior"):
        denoised(np.zeros((8, 8), np.float32), 1.0, "emoji")
