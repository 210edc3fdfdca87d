"""Noise that channels share is found and made independent; independent noise is left alone."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from vqfusion.models.restoration.channel_noise import channel_noise, independent_noise

CLEAN = torch.tensor(data.coffee()[100:260, 200:360]).permute(2, 0, 1).float() / 255


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_independent_noise_is_left_alone():
    noisy = CLEAN + 0.1 * noise(*CLEAN.shape)
    same, level, stronger = independent_noise(noisy, None, torch.Generator())
    assert same is noisy and stronger == 1.0 and level == pytest.approx(0.1, rel=0.05)
    assert independent_noise(noisy, 0.2, torch.Generator())[1:] == (0.2, 1.0)


@pytest.mark.parametrize("told", [None, 0.1])
def test_one_noise_in_all_channels_becomes_independent_noise_of_sqrt_3(told):
    noisy = CLEAN + 0.1 * noise(1, *CLEAN.shape[1:])
    made, level, stronger = independent_noise(noisy, told, torch.Generator().manual_seed(1))
    assert stronger == pytest.approx(3**0.5, rel=0.05) and level == pytest.approx(0.1, rel=0.07)
    covariance = torch.cov((made - CLEAN).flatten(1)) / (stronger * level) ** 2
    assert torch.allclose(covariance, torch.eye(3), atol=0.1)


def test_a_jpeg_with_halved_colours_has_its_noise_along_grey():
    noisy = ((CLEAN + 20 / 255 * noise(*CLEAN.shape)).clamp(0, 1) * 255).round().byte()
    file = io.BytesIO()
    Image.fromarray(noisy.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=95, subsampling=2)
    picture = torch.tensor(np.asarray(Image.open(file))).permute(2, 0, 1).float() / 255
    directions, levels = channel_noise(picture)
    grey = directions[levels.argmax()].abs()
    assert float((grey - 3**-0.5).abs().max()) < 0.1
    assert float(levels.max()) > 2 * float(levels.sort().values[1])
