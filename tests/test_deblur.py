"""The task `deblur`: kernels in words and files, and pictures that are nearer to the truth than the blurred ones."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

import vqfusion
from vqfusion import Sample
from vqfusion.diffusion.operators import ValidBlur, disk_kernel, gaussian_kernel, motion_kernel
from vqfusion.errors import UserError
from vqfusion.tasks import TASKS
from vqfusion.tasks.deblurring import Deblur, read_kernel


def test_a_disk_has_the_area_and_the_symmetry_of_one():
    kernel = disk_kernel(5.3)
    assert float(kernel.sum()) == pytest.approx(1)
    assert 1 / float(kernel.max()) == pytest.approx(math.pi * 5.3**2, rel=0.02)
    assert torch.equal(kernel, kernel.flip(0)) and torch.equal(kernel, kernel.t())
    places = torch.arange(13).double() - 6
    spread = (kernel.sum(0) * places**2).sum()
    assert float(spread) == pytest.approx(5.3**2 / 4, rel=0.03), "variance of a disk along an axis: r^2 / 4"


def test_motion_goes_counter_clockwise_from_the_row():
    kernel = Deblur(blur="motion:21:60")._kernel(2)
    rows, columns = torch.meshgrid(*[torch.arange(n).double() - n // 2 for n in kernel.shape], indexing="ij")
    covariance = (kernel * rows * columns).sum() / (kernel * (rows**2 + columns**2)).sum()
    assert float(covariance) == pytest.approx(-math.sin(math.radians(120)) / 2, abs=0.02), "up on the right"
    torch.testing.assert_close(kernel, motion_kernel(21, math.radians(-60)))


@pytest.mark.parametrize(
    "text",
    ["gaussian", "gaussian:0", "gaussian:x", "disk:nan", "disk:-1", "motion:15", "motion:0:3", "box:3", "disk:1e9"],
)
def test_words_that_are_no_blur(text):
    with pytest.raises(UserError, match="--blur"):
        Deblur(blur=text)


def test_a_blur_in_a_file_is_that_in_words(tmp_path):
    kernel = gaussian_kernel(1.6)
    padded = torch.nn.functional.pad(kernel, (7, 4, 5, 5)).numpy()
    np.save(tmp_path / "k.npy", 3 * padded)
    tifffile.imwrite(tmp_path / "k.tif", padded.astype(np.float32))
    deep = (padded / padded.max() * 65535).round().astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "k.png")
    for name, near in (("k.npy", 1e-12), ("k.tif", 1e-7), ("k.png", 1e-5)):
        found = read_kernel(str(tmp_path / name), 2)
        assert found.shape[0] == 11 and found.shape[1] == 14, "margins go in pairs, so that the middle stays"
        torch.testing.assert_close(found[:, 3:], kernel, atol=near, rtol=0)
    np.save(tmp_path / "large.npy", np.full((3, 3), 1e308))
    torch.testing.assert_close(read_kernel(str(tmp_path / "large.npy"), 2), torch.full((3, 3), 1 / 9).double())
    for name, values, what in (("zero", np.zeros((3, 3)), "not all 0"), ("line", np.ones(3), "axes")):
        np.save(tmp_path / f"{name}.npy", values)
        with pytest.raises(UserError, match=what):
            read_kernel(str(tmp_path / f"{name}.npy"), 2)


@pytest.fixture(scope="module")
def prior():
    return vqfusion.load("photo")


@pytest.fixture(scope="module")
def scene() -> torch.Tensor:
    from sklearn.datasets import load_sample_image

    picture = Image.fromarray(load_sample_image("china.jpg")).crop((200, 150, 440, 390)).resize((96, 96), Image.LANCZOS)
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize("words", ["gaussian:1.2", "disk:2", "motion:9:30"])
def test_a_blurred_photograph_is_nearer_to_the_truth(words, prior, scene):
    operator = ValidBlur(Deblur(blur=words)._kernel(2))
    noise = 2 / 255 * torch.randn(operator.A(scene).shape, generator=torch.Generator().manual_seed(0))
    y, truth = operator.A(scene.double()).float() + noise, operator.under(scene)
    answer = TASKS["deblur"](blur=words)(prior, Sample("image", y[0].clamp(0, 1)))
    made = answer.samples[0][0].data[None]
    assert made.shape == y.shape
    gain = 10 * math.log10(float((y - truth).square().mean() / (made - truth).square().mean()))
    assert gain > 2
    assert answer.findings[0].sigma * 255 == pytest.approx(2, rel=0.25), "estimated from the blurred picture"


def test_in_the_shell(cli, scene, tmp_path):
    Image.fromarray((scene[0].permute(1, 2, 0) * 255).byte().numpy()).save("a.png")
    assert cli("deblur", "a.png", "--blur", "disk:2", "--interval", "0.9", "--steps", "2", "-o", "b.png")[0] == 0
    with Image.open("b.png") as picture:
        assert picture.size == (96, 96)
    assert Path("b-lower.png").exists()
    for arguments, line in (
        ((), "needs the blur"),
        (("--blur", "disk:60"), "more than the input"),
        (("--blur", "disk:2", "--kernel", "a.png"), "leave one out"),
        (("--kernel", "none.png"), "no such file"),
        (("--blur", "disk:2", "--model", "emoji"), "restores nothing|choose a prior"),
    ):
        code, _, err = cli("deblur", "a.png", *arguments, "-o", "c.png")
        assert code == 2 and err.count("\n") == 1 and any(part in err for part in line.split("|")), err
        assert not Path("c.png").exists()


def test_a_volume_by_a_gaussian_only():
    with pytest.raises(UserError, match="blur of pictures"):
        Deblur(blur="disk:2")._kernel(3)
    assert Deblur(blur="gaussian:0.5")._kernel(3).shape == (5, 5, 5)
