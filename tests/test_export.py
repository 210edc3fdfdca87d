"""`export`: the ONNX model gives what the prior gives, in tiles and without torch too; mistakes are one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vqfusion.cli import main
from vqfusion.compress import onnx_runner
from vqfusion.config import PriorConfig
from vqfusion.models.restoration.prior import Prior

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SMALL = dict(widths=(4, 6), depths=(1, 1))
CONFIGS = {
    "photo": PriorConfig(channels=3, leak=0.03, learned=("grey",), **SMALL),
    "volume": PriorConfig(modality="volume", **SMALL),
    "sound": PriorConfig(modality="audio", value_range=(-1.0, 1.0), fold=4, **SMALL),
}
SIZES = {"photo": (141, 90), "volume": (21, 30, 18), "sound": (1001,)}


def tiny(kind: str) -> Prior:
    torch.manual_seed(0)
    prior = Prior(CONFIGS[kind]).eval()
    for parameter in prior.parameters():  # the last convolution starts at zero
        torch.nn.init.normal_(parameter, std=0.15)
    return prior


@pytest.mark.parametrize("kind", CONFIGS)
def test_tiles_without_torch_give_what_the_prior_gives(kind, tmp_path, capsys):
    prior = tiny(kind)
    prior.save_pretrained(tmp_path / "prior")
    assert main(["export", str(tmp_path / "prior"), "-o", str(tmp_path / "onnx")]) == 0
    made, said = capsys.readouterr()
    assert made.split() == [str(tmp_path / "onnx" / name) for name in ("prior.onnx", "run.py")]
    assert "as torch to" in said and said.count("\n") == 1
    session = onnxruntime.InferenceSession(tmp_path / "onnx" / "prior.onnx")
    prior = Prior.from_pretrained(tmp_path / "prior")
    x = torch.rand(prior.config.channels, *SIZES[kind], generator=torch.Generator().manual_seed(1))
    for sigma in (0.0, 0.1):
        whole = prior.denoise(x[None], sigma or None)[0]
        assert (whole - x).abs().max() > 0.01
        tiled = onnx_runner.denoise(session, x.numpy(), sigma, tile=16)
        assert np.abs(tiled - whole.numpy()).max() <= 1e-4
    level = torch.where(torch.rand_like(x) < 0.5, 0.05, 0.2)
    mapped = onnx_runner.denoise(session, x.numpy(), level.numpy(), tile=40)
    assert np.abs(mapped - prior.denoise(x[None], level[None])[0].numpy()).max() <= 1e-4


def test_the_program_is_short_and_needs_no_torch(tmp_path):
    from PIL import Image

    prior = tiny("photo")
    prior.save_pretrained(tmp_path / "prior")
    assert main(["export", str(tmp_path / "prior"), "-o", str(tmp_path / "onnx")]) == 0
    program = tmp_path / "onnx" / "run.py"
    assert len(program.read_text().splitlines()) <= 60
    grey = np.arange(20 * 31, dtype=np.uint8).reshape(20, 31)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    line = "import sys, runpy; sys.modules['torch'] = None; del sys.argv[0]; "
    line += "runpy.run_path(sys.argv[0], run_name='__main__')"
    source, result = str(tmp_path / "grey.png"), tmp_path / "clean.png"
    done = subprocess.run(
        [sys.executable, "-c", line, str(program), source, str(result), "25/255"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    x = torch.from_numpy(grey).float().expand(1, 3, -1, -1) / 255
    expected = (255 * Prior.from_pretrained(tmp_path / "prior").denoise(x, 25 / 255).clamp(0, 1)).round()
    made = torch.from_numpy(np.array(Image.open(result))).permute(2, 0, 1)
    assert (made - expected[0]).abs().max() <= 1


def test_mistakes_are_one_line(tmp_path, capsys):
    prior = tiny("photo")
    prior.save_pretrained(tmp_path / "prior")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "run.py").write_text("mine")
    (tmp_path / "file").write_text("")
    for arguments, words in (
        ([str(tmp_path / "prior"), "-o", str(tmp_path / "full")], "exists already"),
        ([str(tmp_path / "prior"), "-o", str(tmp_path / "file")], "is a file"),
        (["emoji", "-o", str(tmp_path / "new")], "no prior"),
    ):
        assert main(["export", *arguments]) == 2
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    assert (tmp_path / "full" / "run.py").read_text() == "mine" and not Path(tmp_path / "new").exists()
