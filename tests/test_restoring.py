"""`restore` takes what people have, and answers in the form of what was given."""

import numpy as np
import pytest
import torch
from PIL import Image

import vqfusion
from vqfusion import TASKS, MirroredPrior, Sample, restore
from vqfusion.config import PriorConfig
from vqfusion.diffusion.operators import Denoise, Downsample
from vqfusion.errors import UserError

PIXELS = np.random.default_rng(1).integers(60, 200, (12, 16, 3), dtype=np.uint8)
PICTURE = torch.from_numpy(PIXELS).permute(2, 0, 1) / 255


def tiny(modality: str, channels: int = 1, **more) -> vqfusion.Prior:
    torch.manual_seed(0)
    shape = dict(widths=(4, 4), depths=(1, 1), sigma_range=(0.01, 1.0))
    return vqfusion.Prior(PriorConfig(modality=modality, channels=channels, **shape, **more)).eval()


PRIOR = tiny("image", 3)


def test_one_tensor_is_a_batch_of_one():
    batch = restore(PRIOR, PICTURE[None], Denoise(0.1), "sample", samples=3, steps=2)
    one = restore(PRIOR, PICTURE, Denoise(0.1), "sample", samples=3, steps=2)
    assert batch.samples.shape == (1, 3, 3, 12, 16) and one.samples.shape == (3, 3, 12, 16)
    assert torch.equal(one.mean, batch.mean[0]) and torch.equal(one.samples, batch.samples[0])
    assert one.sigma.shape == () and one.nfe == batch.nfe
    ends = restore(PRIOR, PICTURE, Denoise(0.1), "interval", samples=2, steps=2)
    assert ends.lower.shape == ends.upper.shape == PICTURE.shape


@pytest.mark.parametrize(
    "value", [Image.fromarray(PIXELS), PIXELS, Sample("image", PICTURE)], ids=lambda value: type(value).__name__
)
def test_pictures_come_back_as_samples(value):
    wanted = restore(PRIOR, PICTURE, Denoise(0.1)).mean
    made = restore(PRIOR, value, Denoise(0.1))
    assert made.mean.modality == "image"
    torch.testing.assert_close(made.mean.data, wanted, atol=1e-5, rtol=0)
    assert float(made.sigma) == pytest.approx(0.1)
    large = restore(PRIOR, value, Downsample(2), "sample", samples=2, steps=2)
    assert [one.data.shape for one in large.samples] == [(3, 24, 32)] * 2
    assert large._repr_html_().count("<img") == 3


def test_the_task_says_the_same_from_python():
    answer = TASKS["denoise"](sigma=0.1)(PRIOR, PIXELS)
    torch.testing.assert_close(answer.samples[0][0].data, restore(PRIOR, PIXELS, Denoise(0.1)).mean.data)


def test_a_path_is_read_and_the_answer_is_saved(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    made = restore(PRIOR, tmp_path / "a.png", Denoise(0.1))
    made.mean.save(tmp_path / "b.png")
    assert vqfusion.read(tmp_path / "b.png").data.shape == (3, 12, 16)


def test_volumes_keep_their_units():
    prior = tiny("volume")
    volume = Sample("volume", 1000 + 50 * torch.rand(1, 6, 8, 8), spacing_mm=(2.0, 1.0, 1.0))
    made = restore(prior, volume, Denoise(5.0))
    assert made.mean.spacing_mm == (2.0, 1.0, 1.0) and float(made.sigma) == pytest.approx(5.0, rel=1e-4)
    task = TASKS["denoise"](sigma=5.0)(prior, volume)
    torch.testing.assert_close(made.mean.data, task.samples[0][0].data)
    with pytest.raises(UserError, match="in its own units"):
        restore(prior, volume, Downsample(2))


def test_mistakes_are_one_line():
    with pytest.raises(UserError, match="of a Sample give"):
        restore(MirroredPrior(PRIOR), PIXELS)
    with pytest.raises(UserError, match="a measurement is"):
        restore(PRIOR, PICTURE[0])
