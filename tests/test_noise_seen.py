"""The noise level on odd signals: constant, clipped, drawn, clean, and noise that neighbours share."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter
from skimage import data

from vqfusion.diffusion.gaussian.noise_level import estimate_noise
from vqfusion.diffusion.gaussian.odd_areas import kept_variance
from vqfusion.models.restoration.noise_seen import noise_seen

CAMERA = data.camera()[100:260, 100:300] / 255
CAT = data.chelsea()[60:220, 100:280] / 255
SIGNALS = {
    1: (np.sin(np.linspace(0, 60, 16_000)) * np.sin(np.linspace(0, 400, 16_000)))[None] * 0.3,
    2: CAMERA[None],
    3: 0.5
    + 0.3 * np.sin(np.linspace(0, 6, 40))[None, :, None, None] * np.cos(np.linspace(0, 5, 40))[:, None] * np.ones(40),
}


def noise(shape, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def eight_bits(x: np.ndarray) -> np.ndarray:
    return (x.clip(0, 1) * 255).round() / 255


def tensor(x: np.ndarray) -> torch.Tensor:
    """`[C, *size]` of a picture as arrays hold it."""
    return torch.tensor(np.moveaxis(x, -1, 0) if x.ndim == 3 else x[None]).float()


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("share", [0.25, 0.5])
@pytest.mark.parametrize("value", [0.0, 0.4])
def test_constant_areas_say_nothing_of_the_noise_elsewhere(rank, share, value):
    noisy = SIGNALS[rank] + 0.1 * noise(SIGNALS[rank].shape)
    side = int(share * noisy.shape[1])
    noisy[:, : side // 2] = noisy[:, noisy.shape[1] - side // 2 :] = value
    assert float(estimate_noise(torch.tensor(noisy)[None])) == pytest.approx(0.1, rel=0.07)


def test_a_round_field_and_a_burnt_sky():
    noisy = eight_bits(CAMERA + 0.1 * noise(CAMERA.shape))
    rows, columns = np.mgrid[: noisy.shape[0], : noisy.shape[1]]
    field = np.where(np.hypot(rows - 80, columns - 100) > 75, 0, noisy)
    sky = CAMERA.copy()
    sky[:60] = 1.3
    for picture in (field, eight_bits(sky + 0.1 * noise(sky.shape))):
        assert float(estimate_noise(tensor(picture)[None])) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("picture", [CAMERA, CAT], ids=["camera", "cat"])
@pytest.mark.parametrize("sigma", [25, 50])
def test_clipped_noise_is_that_before_clipping(picture, sigma):
    noisy = eight_bits(picture + sigma / 255 * noise(picture.shape))
    assert float(estimate_noise(tensor(noisy)[None])) * 255 == pytest.approx(sigma, rel=0.1)


def test_variance_that_clipping_leaves():
    for mean in (-0.5, 0.0, 1.0, 5.0):
        draws = (mean + noise(400_000)).clip(0)
        kept = kept_variance(torch.tensor([draws.mean()]), (0.0, float("inf")), 1.0)
        assert float(kept) == pytest.approx(draws.var(), abs=0.01)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_one_value_has_no_noise(rank, value):
    assert float(estimate_noise(torch.full((1, 2, *[64] * rank), value))) == 0


def test_a_checkerboard_and_few_values_have_no_noise():
    board = (np.indices((64, 64)).sum(0) % 2).astype(float)
    drawn = np.kron(np.random.default_rng(0).integers(0, 6, (16, 16)) / 5, np.ones((8, 8)))
    for picture in (board, drawn, (CAMERA * 7).round() / 7):
        assert noise_seen(tensor(picture)).level == 0


@pytest.mark.parametrize("sigma", [5, 25, 50])
def test_white_noise_is_white(sigma):
    for picture in (CAMERA, CAT):
        seen = noise_seen(tensor(eight_bits(picture + sigma / 255 * noise(picture.shape))))
        assert seen.line == "" and 255 * seen.level == pytest.approx(sigma, rel=0.2 if sigma == 5 else 0.1)


def demosaiced(x: np.ndarray) -> np.ndarray:
    """Photons in linear light, one colour a pixel (red, green, green, blue), the others between neighbours."""
    raw = np.random.default_rng(0).poisson(x**2.2 * 400) / 400
    keep, around = np.zeros(x.shape), np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4
    keep[::2, ::2, 0] = keep[::2, 1::2, 1] = keep[1::2, ::2, 1] = keep[1::2, 1::2, 2] = 1
    made = [convolve(raw[..., c] * keep[..., c], around) / convolve(keep[..., c], around) for c in range(3)]
    return np.stack(made, -1).clip(0, 1) ** (1 / 2.2)


def test_noise_that_neighbours_share_is_said_and_told_larger():
    soft = gaussian_filter(noise(CAT.shape), (0.7, 0.7, 0))
    twice = np.kron(noise((80, 90, 3)), np.ones((2, 2, 1)))
    camera = demosaiced(CAT)
    for noisy, deviation in (
        (CAT + 20 / 255 * soft / soft.std(), 20),
        (CAT + 15 / 255 * twice, 15),
        (camera, 255 * (camera - CAT)[40:120, 40:120].std()),
    ):
        seen = noise_seen(tensor(eight_bits(noisy)))
        assert "neighbouring pixels share its noise" in seen.line
        assert 1.5 * deviation < 255 * seen.level < 5 * deviation


@pytest.mark.parametrize("name", ["coffee", "page", "text", "logo", "colorwheel"])
def test_clean_pictures_are_left_alone(name):
    picture = getattr(data, name)()[..., :3] / 255 if name not in ("page", "text") else getattr(data, name)() / 255
    assert noise_seen(tensor(picture)).level == 0


@pytest.mark.parametrize("rank", [1, 3])
def test_clean_sounds_and_volumes_are_left_alone_and_faint_noise_is_not(rank):
    clean = torch.tensor(SIGNALS[rank]).float()
    assert noise_seen(clean).level == 0 and "left as it is" in noise_seen(clean).line
    seen = noise_seen(clean + 0.01 * torch.tensor(noise(clean.shape)).float())
    assert seen.line == "" and seen.level == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("rank", [1, 3])
def test_noise_that_neighbouring_values_share_is_said(rank):
    soft = gaussian_filter(noise(SIGNALS[rank].shape), (0, *[0.7] * rank))
    seen = noise_seen(torch.tensor(SIGNALS[rank] + 0.02 * soft / soft.std()).float())
    assert "neighbouring values share its noise" in seen.line and seen.level == pytest.approx(0.02, rel=0.3)


def test_weak_texture_beside_a_flat_area_does_not_pass_for_noise():
    """The flat quarter of a picture tells the level, however small it is."""
    picture = CAMERA + 0.1 * noise(CAMERA.shape, 1)
    picture[:64, :64] = 0.5
    assert float(estimate_noise(tensor(picture + 5 / 255 * noise(CAMERA.shape))[None])) * 255 == pytest.approx(
        5, rel=0.1
    )


def test_a_small_picture_does_not_pass_for_clean():
    """Of 16 pixels a side, whose patches are hardly more than the elements of one."""
    small = torch.tensor(noise((1, 1, 16, 16)))
    assert float(estimate_noise(0.1 * small)) > 0.03
    assert float(estimate_noise((0.5 + 0.5 * small).clamp(0, 1))) > 0.15
