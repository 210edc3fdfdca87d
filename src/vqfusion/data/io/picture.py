"""PNG, JPEG, WebP, colour TIFF and other pictures <-> `Sample("image")`."""

import warnings
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from vqfusion.data.io.animation import Animation, frames_in
from vqfusion.data.io.colour_tiff import encode_tiff, read_deep, tags_of
from vqfusion.data.io.depth import bits_of
from vqfusion.data.io.file import check_target, holds_none_of, name_of, read_bytes
from vqfusion.data.io.netpbm import encode_netpbm, read_netpbm, size_of
from vqfusion.data.io.picture_extras import Extras, chunks_of, extras_of, notes_of, upright
from vqfusion.data.io.picture_formats import DEPTH, FRAMES, READ, TRANSPARENCY, WRITTEN, Format
from vqfusion.data.io.png import compressed_rows, encode_png16, noted
from vqfusion.data.io.quiet import quiet
from vqfusion.data.io.tiff_pages import HEADS, is_colour_picture
from vqfusion.errors import UserError
from vqfusion.files import write_bytes
from vqfusion.limits import MEMORY
from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

BYTES_PER_VALUE = 16  # of memory, for a picture in float32, its copy while it is turned, and its restoration
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def read_picture(source: str | Path | bytes, channels: int | None = None, keep: bool = False) -> Sample:
    """Read a picture `[C, H, W]` float32 in [0, 1].

    The EXIF orientation is applied, transparency is composited over white, 16 bits per channel keep their precision
    (PNG, TIFF, PPM), the first frame of an animation is taken, and colour profiles are ignored.

    Args:
        source: Path, `"-"` for standard input, or bytes.
        channels: 1 or 3 converts; None keeps grey as C = 1 and gives C = 3 for colour.
        keep: Keep the colours under transparency, and give the sample `extras`, among them the other frames.

    Returns:
        The sample.

    Raises:
        UserError: The file is missing, empty, damaged, truncated, without pixels, not a picture, or has more than
            about 179 million pixels (Pillow's limit against decompression bombs).
    """
    if channels not in (None, 1, 3):
        raise UserError(f"channels is {channels}: give 1 or 3")
    data, name = read_bytes(source), name_of(source)
    try:
        with quiet(data.startswith(HEADS)), warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF
            by_ourselves = _deep(data, name)
            picture = Image.open(BytesIO(data), formats=READ)
            frames = frames_in(picture) if keep else 1
            MEMORY.require(BYTES_PER_VALUE * picture.width * picture.height * len(picture.getbands()) * frames, name)
            pixels, deep = _pixels(data, picture, name) if by_ourselves is None else (by_ourselves, True)
            orientation, exif = notes_of(picture, keep)
            extras = extras_of(picture, deep, exif, orientation) if keep else None
            if extras:
                extras = replace(extras, chunks=noted(data), tags=tags_of(data, name) if data[:4] in HEADS else None)
            left_out = _left_out(picture, 8 if deep else bits_of(data), whole=frames > 1 and not deep)
            if extras and frames > 1 and not deep:
                extras = replace(extras, animation=_animation(picture, frames))
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise UserError(f"{name}: has over {limit} million pixels; make it smaller") from None
    except (UserError, ImportError):
        raise
    except UnidentifiedImageError:
        raise UserError(f"{name}: is not a picture of a known format, or its header is broken") from None
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
    """Write a picture `[1 or 3, H, W]` in [0, 1] with 8 bits: lossless but for JPEG and AVIF (quality 95, 4:4:4).

    Values outside of [0, 1] are clipped. The `extras` of the sample are written as far as the format holds them:
    transparency (else over white), EXIF (upright, with the new size), XMP, colour profile, resolution, comment (JPEG),
    16 bits (PNG, TIFF, PPM), gamma, primaries and texts (PNG), tags (TIFF). The file is written atomically.

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
    form = WRITTEN[path.suffix.lower()]
    deep = extras.bits == 16 and DEPTH in form.holds
    pixels = _stored(image, extras.alpha, form, deep)
    animation = extras.animation if FRAMES in form.holds else None
    further = [_stored(one.data, one.extras.alpha, form, deep) for one in animation.frames] if animation else []
    exif, icc = upright(extras.exif, *image.shape[1:]), extras.icc
    if form.name == "TIFF":
        content = encode_tiff(pixels, icc, extras.dpi, extras.tags)
    elif deep and form.name == "PPM":
        content = encode_netpbm(pixels)
    elif deep:
        metre = extras.dpi and (round(extras.dpi[0] / 0.0254), round(extras.dpi[1] / 0.0254))
        content = encode_png16(pixels, icc, exif and exif.removeprefix(b"Exif\0\0"), metre, chunks_of(extras))
    else:
        more = {"exif": exif, "icc_profile": icc, "dpi": extras.dpi}
        if form.name == "PNG":
            more["pnginfo"] = info = PngImagePlugin.PngInfo()
            for kind, held in chunks_of(extras):
                info.add(kind, held)
        else:
            more["xmp"] = extras.xmp
        if form.name == "JPEG":
            more["comment"] = extras.comment
        told = {key: value for key, value in more.items() if value} | (animation.options if animation else {})
        content = _encoded([pixels, *further], path, form, told)
    write_bytes(path, content, force)
    gone = extras.gone(form)
    return holds_none_of(gone, ".png" if gone and not extras.gone(WRITTEN[".png"]) else "")


def _stored(image: Tensor, alpha: Tensor | None, form: Format, deep: bool) -> np.ndarray:
    """Pixels `[H, W, C]` in 8 or 16 bits, alpha last, or over white where the format holds none."""
    image = image.detach().cpu().float().clamp(0, 1)
    if alpha is not None:
        image = torch.cat([image, alpha]) if TRANSPARENCY in form.holds else image * alpha + (1 - alpha)
    steps, kind = (65535, np.uint16) if deep else (255, np.uint8)
    return np.ascontiguousarray((image * steps).round_().permute(1, 2, 0).numpy().astype(kind))


def _encoded(frames: list[np.ndarray], path: Path, form: Format, more: dict[str, Any]) -> bytes:
    """Encode frames of 8-bit pixels `[H, W, C]` in a format of Pillow."""
    pictures = [Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels) for pixels in frames]
    mode = next((one for one in ("RGBA", "LA") if any(picture.mode == one for picture in pictures)), pictures[0].mode)
    if mode == "LA" and form.name != "PNG":
        mode = "RGBA"
    picture, *others = [one if one.mode == mode else one.convert(mode) for one in pictures]
    more = more | ({"append_images": others} if others else {})
    buffer = BytesIO()
    try:
        picture.save(buffer, form.name, **form.options, **more)
    except (OSError, ValueError) as error:  # e.g. WebP ends at 16383 pixels a side
        raise UserError(f"{path}: this format cannot hold the picture ({error}); use .png") from None
    return buffer.getvalue()


def _animation(picture: Image.Image, frames: int) -> Animation:
    """Frames of an open file after the first, which are not turned."""
    samples, durations = [], []
    for i in range(frames):
        picture.seek(i)
        picture.load()  # some formats tell the duration with the pixels only
        durations.append(float(picture.info.get("duration", 0)))
        if i:
            pixels = torch.from_numpy(_narrow(picture)).permute(2, 0, 1).contiguous()
            clear = len(pixels) in (2, 4)
            extras = Extras(alpha=pixels[-1:] if clear else None)
            samples.append(Sample("image", pixels[: len(pixels) - clear], extras=extras))
    return Animation(tuple(samples), tuple(durations), picture.info.get("loop"))


def _left_out(picture: Image.Image, bits: int, whole: bool) -> tuple[str, ...]:
    """Warnings about content of the file that is not read; `bits` per channel are in it, `whole` with all frames."""
    lines = [f"holds {bits} bits per channel, of which 8 are read; .png and .tif keep 16"] if bits > 8 else []
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and not whole:
        lines.append(f"holds {frames} frames: the first is taken, the others are left out")
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX") and picture.mode[0] != "I":
        lines.append(f"its {picture.mode} colours were converted to RGB")
    if picture.mode == "RGBX":
        lines.append("its fourth channel, which has no stated meaning, is left out")
    return tuple(lines)


def _deep(data: bytes, name: str) -> np.ndarray | None:
    """`[H, W, C]` of a TIFF, PGM or PPM with 16 bits per channel; None for files that Pillow reads as well."""
    if is_colour_picture(data):
        return read_deep(data, name)
    return read_netpbm(data, name) if size_of(data) else None


def _pixels(data: bytes, picture: Image.Image, name: str) -> tuple[np.ndarray, bool]:
    """`[H, W, C]` float32 in [0, 1], alpha last, and whether there are 16 bits per channel."""
    layout = str(picture.tile[0].args) if isinstance(picture, PngImagePlugin.PngImageFile) and picture.tile else ""
    if "16" in layout:
        return _wide(data, picture, layout), True
    if picture.mode == "F" or (picture.mode == "I" and picture.format == "TIFF"):
        raise UserError(f"{name}: holds numbers in an unknown range, not a picture; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        return np.asarray(picture)[..., None].astype(np.float32) / 65535, True
    return _narrow(picture), False


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
