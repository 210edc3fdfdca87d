"""The same marks give the same mask, however they were painted."""

import numpy as np
import pytest
from PIL import Image

from vqfusion.data.io.mask import read_picture_mask
from vqfusion.errors import UserError

MARKED = np.zeros((12, 16), bool)
MARKED[3:8, 4:9] = True
BYTES = MARKED.astype(np.uint8) * 255


def layer(colour, under=None) -> np.ndarray:
    """Marks of a colour on a transparent layer."""
    colours = np.broadcast_to(np.array(colour, np.uint8), (*MARKED.shape, 3))
    return np.dstack(
        [np.where(MARKED[..., None], colours, colours if under is None else under).astype(np.uint8), BYTES]
    )


def palette(mask: np.ndarray, colours: list[int], **more) -> Image.Image:
    picture = Image.fromarray(mask.astype(np.uint8), "P")
    picture.putpalette(colours)
    picture.info.update(more)
    return picture


PAINTED = {
    "0 and 255": BYTES,
    "0 and 1": BYTES // 255,
    "0 and 128": BYTES // 2,
    "16 bits, 0 and 1": MARKED.astype(np.uint16),
    "one bit": Image.fromarray(MARKED),
    "colour": np.dstack([BYTES] * 3),
    "red on black": np.dstack([BYTES, 0 * BYTES, 0 * BYTES]),
    "opaque with an alpha channel": np.dstack([BYTES] * 3 + [np.full_like(BYTES, 255)]),
    "white on a transparent layer": layer((255, 255, 255)),
    "black on a transparent layer": layer((0, 0, 0)),
    "red on a transparent layer": layer((255, 0, 0)),
    "black on a layer of hidden white": layer((0, 0, 0), under=(255, 255, 255)),
    "grey with alpha": np.dstack([0 * BYTES, BYTES]),
    "white on painted black, the rest transparent": np.dstack(
        [BYTES] * 3 + [np.where(np.arange(16) < 12, 255, 0).astype(np.uint8) * np.ones((12, 1), np.uint8)]
    ),
    "palette": palette(MARKED, [0, 0, 0, 128, 0, 0]),
    "JPEG": BYTES,
    "soft edges": np.where(MARKED, 200, 40).astype(np.uint8),
    "npy of bool": MARKED,
    "npy of numbers": MARKED.astype(np.float64),
    "npy of one channel": MARKED[None].astype(np.int16),
}


@pytest.mark.parametrize("name", PAINTED)
def test_marks_are_what_is_painted(tmp_path, name):
    mask, path = PAINTED[name], tmp_path / ("a.npy" if "npy" in name else "a.jpg" if name == "JPEG" else "a.png")
    if "npy" in name:
        np.save(path, mask)
    else:
        (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(path)
    found, lines = read_picture_mask(path)
    assert np.array_equal(found.numpy(), MARKED)
    assert bool(lines) == (name.endswith("on a transparent layer") or name in ("grey with alpha",) or "hidden" in name)


def test_a_mask_that_looks_inverted_is_followed_and_said(tmp_path):
    Image.fromarray(255 - BYTES).save(tmp_path / "a.png")
    found, [line] = read_picture_mask(tmp_path / "a.png")
    assert np.array_equal(found.numpy(), ~MARKED) and "87 %" in line and "black is kept" in line


@pytest.mark.parametrize("mask", [0 * BYTES, np.dstack([BYTES] * 3 + [0 * BYTES])])
def test_a_mask_without_marks_is_refused(tmp_path, mask):
    Image.fromarray(mask).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="marks nothing"):
        read_picture_mask(tmp_path / "a.png")


@pytest.mark.parametrize("header", ["{'descr'", "{'descr': '<f8', 'fortran_order': False, 'shape': (9999999, 99), }"])
def test_a_damaged_array_is_no_mask(tmp_path, header):
    """The header of an array is source text, which ends in the errors of a parser, and promises any size."""
    text = header.encode() + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(UserError, match=r"a\.npy: is (no NumPy array|broken)"):
        read_picture_mask(tmp_path / "a.npy")


def test_marks_beyond_the_range_of_float32_are_marks(tmp_path):
    np.save(tmp_path / "a.npy", np.where(MARKED, 1e308, -1e308))
    assert np.array_equal(read_picture_mask(tmp_path / "a.npy")[0].numpy(), MARKED)
