"""PNG, JPEG and WebP <-> `Sample("image")`."""

import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from vqfusion.data.io.file import check_target, name_of, read_bytes
from vqfusion.data.io.picture_extras import Extras, chunks_of, extras_of, notes_of, upright
from vqfusion.data.io.png import compressed_rows, encode_png16, noted
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.limits import MEMORY
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

FORMATS = ("PNG", "JPEG", "WEBP")
BYTES_PER_VALUE = 16  # of memory, for a picture in float32, its copy while it is turned, and its restoration
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
HOW: dict[str, dict] = {
    ".png": {"format": "PNG"}, ".webp": {"format": "WEBP", "lossless": True},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}  # fmt: skip


def read_picture(source: str | Path | bytes, channels: int | None = None, keep: bool = False) -> Sample:
    """Read a picture `[C, H, W]` float32 in [0, 1].

    The EXIF orientation is applied, transparency is composited over white, 16 bits per channel keep their precision,
    the first frame of an animation is taken, and colour profiles are ignored.

    Args:
        source: Path, `"-"` for standard input, or bytes.
        channels: 1 or 3 converts; None keeps grey as C = 1 and gives C = 3 for colour.
        keep: Keep the colours under transparency, and give the sample `extras`.

    Returns:
        The sample.

    Raises:
        UserError: The file is missing, empty, damaged, truncated, without pixels, not a PNG, JPEG or WebP, or has more
            than about 179 million pixels (Pillow's limit against decompression bombs).
    """
    if channels not in (None, 1, 3):
        raise UserError(f"channels is {channels}: give 1 or 3")
    data, name = read_bytes(source), name_of(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF
            picture = Image.open(BytesIO(data), formats=FORMATS)
            MEMORY.require(BYTES_PER_VALUE * picture.width * picture.height * len(picture.getbands()), name)
            layout = _layout(picture)
            pixels = _wide(data, picture, layout) if "16" in layout else _narrow(picture)
            orientation, exif = notes_of(picture, keep)
            extras = replace(extras_of(picture, layout, exif, orientation), chunks=noted(data)) if keep else None
            left_out = _left_out(picture)
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UserError(f"{name}: has over {limit} million pixels; make it smaller") from None
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{name}: is not a PNG, JPEG or WebP picture, or its header is broken") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{name}: is a broken or cut-off picture ({error})") from None
    if pixels.size == 0:
        raise UserError(f"{name}: has no pixels")
    pixels = _turn(pixels, orientation)
    if pixels.shape[2] in (2, 4):  # the last channel is alpha: composite over white
        alpha, pixels = pixels[..., -1:], pixels[..., :-1]
        if extras:
            extras = replace(extras, alpha=torch.from_numpy(np.ascontiguousarray(alpha.transpose(2, 0, 1))))
        else:
            pixels = pixels * alpha + (1 - alpha)
    if channels == 1 and pixels.shape[2] == 3:
        pixels = pixels @ LUMA[:, None]
    if channels == 3 and pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    return Sample(
        "image", torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), extras=extras, notes=left_out
    )


def write_picture(sample: Sample, path: str | Path, force: bool = False) -> tuple[str, ...]:
    """Write a picture `[1 or 3, H, W]` in [0, 1] with 8 bits: PNG and WebP lossless, JPEG with quality 95, 4:4:4.

    Values outside of [0, 1] are clipped. The `extras` of the sample are written too: transparency (JPEG: over white),
    EXIF (upright, with the new size), XMP, colour profile, resolution, comment (JPEG), and 16 bits, gamma, primaries
    and texts (PNG only). The file is written atomically.

    Args:
        sample: The sample.
        path: File to write.
        force: Overwrite an existing file.

    Returns:
        One line for everything that the format cannot hold.

    Raises:
        UserError: The file exists and `force` is not set, another suffix, NaN, no pixels, or another number of
            channels.
    """
    path = check_target(path, MODALITIES["image"].written, force)
    image, extras = sample.data, sample.extras or Extras()
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise UserError(f"{path}: a picture is [1 or 3, H, W], not {list(image.shape)}")
    if not torch.isfinite(image).all():
        raise UserError(f"{path}: the picture holds NaN or infinity")
    image = image.detach().cpu().float().clamp(0, 1)
    how = HOW[path.suffix.lower()]
    if extras.alpha is not None and how["format"] == "JPEG":
        image = image * extras.alpha + (1 - extras.alpha)
    elif extras.alpha is not None:
        image = torch.cat([image, extras.alpha])
    deep = extras.bits == 16 and how["format"] == "PNG"
    steps = 65535 if deep else 255
    pixels = (image * steps).round_().permute(1, 2, 0).numpy().astype(np.uint16 if deep else np.uint8)
    exif, icc = upright(extras.exif, *image.shape[1:]), extras.icc
    if deep:
        metre = extras.dpi and (round(extras.dpi[0] / 0.0254), round(extras.dpi[1] / 0.0254))
        content = encode_png16(
            np.ascontiguousarray(pixels), icc, exif and exif.removeprefix(b"Exif\0\0"), metre, chunks_of(extras)
        )
    else:
        more = {"exif": exif, "icc_profile": icc, "dpi": extras.dpi}
        if how["format"] == "PNG":
            more["pnginfo"] = info = PngImagePlugin.PngInfo()
            for kind, held in chunks_of(extras):
                info.add(kind, held)
        else:
            more["xmp"] = extras.xmp
        if how["format"] == "JPEG":
            more["comment"] = extras.comment
        content = _encoded(pixels, path, how | {key: value for key, value in more.items() if value})
    write_bytes(path, content, force)
    gone = extras.gone(how["format"])
    return (f"this format holds no {' and '.join(gone)}; .png does",) if gone else ()


def _encoded(pixels: np.ndarray, path: Path, how: dict[str, Any]) -> bytes:
    """Encode 8-bit pixels `[H, W, C]` in a format of Pillow."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if picture.mode == "LA" and how["format"] == "WEBP":
        picture = picture.convert("RGBA")
    buffer = BytesIO()
    try:
        picture.save(buffer, **how)
    except (OSError, ValueError) as error:  # e.g. WebP ends at 16383 pixels a side
        raise UserError(f"{path}: this format cannot hold the picture ({error}); use .png") from None
    return buffer.getvalue()


def _left_out(picture: Image.Image) -> tuple[str, ...]:
    """Warnings about content of the file that is not read."""
    lines = []
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        lines.append(f"holds {frames} frames: the first is taken, the others are left out")
    if picture.mode == "CMYK":
        lines.append("its CMYK colours were converted to RGB")
    return tuple(lines)


def _layout(picture: Image.Image) -> str:
    """Raw layout of a PNG that is not loaded yet, such as "RGB;16B"; "" for other files."""
    if isinstance(picture, PngImagePlugin.PngImageFile) and picture.tile:
        return str(picture.tile[0].args)
    return ""


def pixels_of(picture: Image.Image) -> np.ndarray:
    """`[H, W, C]` float32 in [0, 1] of an open picture, upright; the last of 4 channels is alpha."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F":
        return np.asarray(picture)[..., None].astype(np.float32)
    if picture.mode.startswith("I"):  # 16 bits, which some readers hold in 32
        return np.asarray(picture)[..., None].astype(np.float32) / 65535
    pixels = _narrow(picture)
    if pixels.shape[2] == 2:
        return pixels[..., :1] * pixels[..., 1:] + (1 - pixels[..., 1:])
    return pixels


def _narrow(picture: Image.Image) -> np.ndarray:
    """`[H, W, C]` float32 of a picture with up to 8 bits per channel; the last of 2 or 4 channels is alpha."""
    clear = "A" in picture.getbands() or "transparency" in picture.info
    grey = picture.mode in ("1", "L", "LA")
    pixels = np.asarray(picture.convert(("LA" if grey else "RGBA") if clear else ("L" if grey else "RGB")))
    return pixels.reshape(*pixels.shape[:2], -1).astype(np.float32) / 255


def _wide(data: bytes, picture: Image.Image, raw: str) -> np.ndarray:
    """`[H, W, C]` float32 of a PNG with 16 bits per channel, which Pillow reduces to 8 for colour."""
    if raw.startswith("LA"):  # two big-endian 16-bit numbers read as four bytes
        planes = _unpack(data, "RGBA", "RGBA")
        high, low = planes[..., 0::2], planes[..., 1::2]
    elif raw.startswith("RGB"):  # the little-endian reading of a big-endian number keeps its low byte
        high, low = (_unpack(data, picture.mode, raw.replace("16B", f"16{order}")) for order in "BL")
    else:
        whole = np.asarray(picture).astype(np.uint16)[..., None]
        high, low = whole >> 8, whole & 255
    values = high.astype(np.uint16) * 256 + low
    pixels = values.astype(np.float32) / 65535
    clear = picture.info.get("transparency")  # one colour declared transparent
    if clear is not None and pixels.shape[2] in (1, 3):
        alpha = (values != np.atleast_1d(clear)).any(-1, keepdims=True)
        pixels = np.concatenate([pixels, alpha.astype(np.float32)], -1)
    return pixels


def _unpack(data: bytes, mode: str, raw: str) -> np.ndarray:
    """Pixels of a PNG with its bytes read as `raw`."""
    size, interlaced, packed = compressed_rows(data)
    return np.asarray(Image.frombytes(mode, size, packed, "zip", raw, interlaced))


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright pixels `[H, W, C]` by the EXIF orientation 1 to 8; other values count as 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
