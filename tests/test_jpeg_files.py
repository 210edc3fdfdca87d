"""Denoising of JPEG files: recognised by their tables, restored nearer to the picture, and only when unchanged."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import vqfusion
from vqfusion.data.io.picture import read_picture
from vqfusion.models.restoration.fitted import FittedSample
from vqfusion.models.sampling import Sampling
from vqfusion.tasks import TASKS

CAT = data.chelsea()[90:186, 120:216]


@pytest.fixture(scope="module")
def photo():
    return vqfusion.load("photo")


def stored(quality: int):
    file = io.BytesIO()
    Image.fromarray(CAT).save(file, "JPEG", quality=quality)
    return read_picture(file.getvalue(), keep=True)


def error(sample) -> float:
    return float(np.square(sample.data.clamp(0, 1).permute(1, 2, 0).numpy() - CAT / 255).mean())


def test_a_coarse_jpeg_is_restored_as_one(photo):
    given = stored(10)
    answer = TASKS["denoise"]()(photo, given, Sampling())
    (made,) = answer.samples[0]
    assert "restored as a JPEG" in answer.findings[0].warnings[0]
    assert error(made) < 0.95 * error(given)


def test_a_jpeg_that_was_changed_or_is_fine_is_none(photo):
    given = stored(10)
    noisy = replace(given, data=given.data + 0.05 * torch.randn(given.data.shape, generator=torch.Generator()))
    shifted = replace(given, data=given.data[:, 3:, 5:])
    assert FittedSample.of(given, photo).as_jpeg().jpeg is not None
    for other in (noisy, shifted, stored(95)):
        assert FittedSample.of(other, photo).as_jpeg().jpeg is None
