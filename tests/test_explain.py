"""`denoise --explain`: what is seen is what was done to the picture."""

import json

import pytest
import torch
from PIL import Image

from vqfusion.cli import main
from vqfusion.config import PriorConfig
from vqfusion.models.restoration.explanation import Explanation
from vqfusion.models.restoration.prior import Prior

SIZE = 160


def scene(channels: int = 3) -> torch.Tensor:
    """Smooth shapes of several colours."""
    row = torch.linspace(0, 1, SIZE)
    waves = torch.stack([(row[:, None] * (2 + k)).sin() * (row * (5 - k)).cos() for k in range(channels)])
    return 0.5 + 0.25 * waves


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_white_noise():
    seen = Explanation.of(scene() + 0.05 * noise(0, 3, SIZE, SIZE))
    assert seen.level == pytest.approx(0.05, rel=0.05) and len(seen.level_map) == 9
    assert all(level == pytest.approx(0.05, rel=0.1) for level in seen.level_map)
    assert abs(seen.neighbours) < 0.1 and seen.clipped == (0, 0) and seen.jpeg_step is None
    assert seen.channels == pytest.approx(1, abs=0.1) and seen.jpeg_blocks == pytest.approx(1, abs=0.1)


def test_noise_by_place_shared_by_neighbours_and_by_colours():
    strong = torch.where(torch.arange(SIZE) < SIZE // 2, 0.02, 0.1)
    seen = Explanation.of(scene() + strong * noise(0, 3, SIZE, SIZE))
    assert seen.level_map[0] == pytest.approx(0.02, rel=0.2) and seen.level_map[2] == pytest.approx(0.1, rel=0.2)
    soft = torch.nn.functional.avg_pool2d(noise(1, 1, 3, SIZE, SIZE), 2, 1)[0]
    assert Explanation.of(scene()[:, 1:, 1:] + 0.1 * soft).neighbours > 0.3
    same = Explanation.of(scene() + 0.05 * noise(2, 1, SIZE, SIZE))
    assert same.channels == pytest.approx(3**0.5, rel=0.1)


def test_clipping_and_blocks():
    seen = Explanation.of((scene() - 0.4 + 0.1 * noise(0, 3, SIZE, SIZE)).clamp(0, 1))
    assert seen.clipped[0] > 0.1 and seen.clipped[1] == 0
    steps = torch.arange(SIZE) // 8 % 2 * 0.05
    blocked = Explanation.of(scene() + steps + 0.005 * noise(0, 3, SIZE, SIZE))
    assert blocked.jpeg_blocks > 2 and any("blocks of JPEG: seen" in line for line in blocked.lines())


def test_the_command_tells_it_and_restores(tmp_path, capsys):
    torch.manual_seed(0)
    Prior(PriorConfig(channels=3, widths=(4,), depths=(1,))).save_pretrained(tmp_path / "prior")
    pixels = ((scene() + 0.1 * noise(0, 3, SIZE, SIZE)).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=60)
    denoise = ["denoise", str(tmp_path / "a.jpg"), "--model", str(tmp_path / "prior"), "-o", str(tmp_path / "b.png")]
    assert main([*denoise, "--explain"]) == 0
    said = capsys.readouterr().err
    for words in (
        "noise as white noise",
        "by place (9 parts)",
        "correlation of neighbours",
        "blocks of JPEG",
        "a JPEG",
    ):
        assert words in said
    assert (tmp_path / "b.png").exists()
    assert main([*denoise, "--explain", "--json", "--force"]) == 0
    [row] = json.loads(capsys.readouterr().out)["items"]
    assert row["seen"]["jpeg_step"] > 1 and len(row["seen"]["level_map"]) == 9 and len(row["explained"]) >= 6
    assert main([*denoise, "--json", "--force"]) == 0
    assert "seen" not in json.loads(capsys.readouterr().out)["items"][0]
