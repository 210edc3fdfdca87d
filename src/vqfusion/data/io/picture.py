"""PNG, JPEG and WebP <-> `Sample("image")`."""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from vqfusion.data.io.file import SUFFIXES, check_target, name_of, read_bytes, write_bytes
from vqfusion.errors import UserError
from vqfusion.types import Sample

FORMATS = ("PNG", "JPEG", "WEBP")
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
HOW: dict[str, dict] = {
    ".png": {"format": "PNG"}, ".webp": {"format": "WEBP", "lossless": True},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}  # fmt: skip


def read_picture(source: str | Path | bytes, channels: int | None = None) -> Sample:
    """A picture `[C, H, W]` float32 in [0, 1] from a path, `"-"` for standard input, or bytes.

    The EXIF orientation is applied, transparency is put over white, 16 bits a channel keep their precision,
    the first frame of an animation is taken, colour profiles are ignored. `channels` 1 or 3 converts; None
    keeps grey as C = 1 and gives C = 3 for colour.

    Raises UserError for a file that is missing, empty, broken, cut short, without pixels, not a PNG, JPEG or
    WebP, or over about 179 million pixels (Pillow's limit against decompression bombs).
    """
    if channels not in (None, 1, 3):
        raise UserError(f"channels is {channels}: give 1 or 3")
    data, name = read_bytes(source), name_of(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(BytesIO(data), formats=FORMATS)
            layout = _layout(picture)
            pixels = _wide(data, picture, layout) if "16" in layout else _narrow(picture)
            orientation = picture.getexif().get(0x0112, 1)
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UserError(f"{name}: has over {limit} million pixels; make it smaller") from None
    except UnidentifiedImageError:
        raise UserError(f"{name}: is not a PNG, JPEG or WebP picture, or its header is broken") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{name}: is a broken or cut-off picture ({error})") from None
    if pixels.size == 0:
        raise UserError(f"{name}: has no pixels")
    pixels = _turn(pixels, orientation)
    if pixels.shape[2] in (2, 4):  # alpha last: over white
        alpha = pixels[..., -1:]
        pixels = pixels[..., :-1] * alpha + (1 - alpha)
    if channels == 1 and pixels.shape[2] == 3:
        pixels = pixels @ LUMA[:, None]
    if channels == 3 and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return Sample("image", torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))


def write_picture(sample: Sample, path: str | Path, force: bool = False) -> None:
    """Write `[1 or 3, H, W]` in [0, 1] with 8 bits: PNG and WebP lossless, JPEG with quality 95, 4:4:4.

    Values outside [0, 1] are clipped. The file appears whole or not at all. Raises UserError if the file
    exists and not `force`, for another suffix, NaN, no pixels, or another number of channels.
    """
    path = check_target(path, SUFFIXES["image"], force)
    image = sample.data
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise UserError(f"{path}: a picture is [1 or 3, H, W], not {list(image.shape)}")
    if not torch.isfinite(image).all():
        raise UserError(f"{path}: the picture holds NaN or infinity")
    pixels = (image.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = BytesIO()
    try:
        flat = pixels[..., 0] if image.shape[0] == 1 else pixels
        Image.fromarray(flat).save(buffer, **HOW[path.suffix.lower()])
    except (OSError, ValueError) as error:  # e.g. WebP ends at 16383 pixels a side
        raise UserError(f"{path}: this format cannot hold the picture ({error}); use .png") from None
    write_bytes(path, buffer.getvalue())


def _layout(picture: Image.Image) -> str:
    """How the bytes of a PNG that is not loaded yet stand for its pixels, e.g. "RGB;16B"; "" for others."""
    if isinstance(picture, PngImagePlugin.PngImageFile) and picture.tile:
        return str(picture.tile[0].args)
    return ""


def _narrow(picture: Image.Image) -> np.ndarray:
    """`[H, W, C]` float32 of a picture with up to 8 bits a channel; C of 2 or 4 ends in alpha."""
    clear = "A" in picture.getbands() or "transparency" in picture.info
    grey = picture.mode in ("1", "L", "LA")
    pixels = np.asarray(picture.convert(("LA" if grey else "RGBA") if clear else ("L" if grey else "RGB")))
    return pixels.reshape(*pixels.shape[:2], -1).astype(np.float32) / 255


def _wide(data: bytes, picture: Image.Image, raw: str) -> np.ndarray:
    """`[H, W, C]` float32 of a PNG with 16 bits a channel, of which Pillow by itself drops half in colour."""
    if raw.startswith("LA"):  # two big-endian 16-bit numbers read as four bytes
        planes = _unpack(data, "RGBA", "RGBA")
        high, low = planes[..., 0::2], planes[..., 1::2]
    elif raw.startswith("RGB"):  # the little-endian reading of a big-endian number keeps its low byte
        high, low = (_unpack(data, picture.mode, raw.replace("16B", f"16{order}")) for order in "BL")
    else:
        whole = np.asarray(picture).astype(np.int64)[..., None]
        high, low = whole >> 8, whole & 255
    values = high.astype(np.int64) * 256 + low
    pixels = (values / 65535).astype(np.float32)
    clear = picture.info.get("transparency")  # one colour declared transparent
    if clear is not None and pixels.shape[2] in (1, 3):
        alpha = (values != np.atleast_1d(clear)).any(-1, keepdims=True)
        pixels = np.concatenate([pixels, alpha.astype(np.float32)], -1)
    return pixels


def _unpack(data: bytes, mode: str, raw: str) -> np.ndarray:
    """Decode a PNG as if its bytes were laid out as `raw`."""
    picture = Image.open(BytesIO(data), formats=("PNG",))
    picture._mode = mode
    picture.tile = [tile._replace(args=raw) for tile in picture.tile]
    picture.info.pop("transparency", None)
    return np.asarray(picture)


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright pixels `[H, W, C]` by the EXIF orientation 1 to 8; anything else counts as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
