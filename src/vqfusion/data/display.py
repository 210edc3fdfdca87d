"""Samples as notebooks show them: HTML that carries its pictures and sounds with it."""

import base64
import html
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vqfusion.modalities import MODALITIES
from vqfusion.types import Sample

LARGEST = 768  # pixels a side of a picture that is shown
WIDTH, HEIGHT = 640, 120  # of curves
MOST_POINTS, MOST_CURVES = 1000, 8
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")


def html_of(sample: Sample, lower: Sample | None = None, upper: Sample | None = None) -> str:
    """One sample: a picture, a player, the middle slices of a volume, the curves of a series, or the text.

    Args:
        sample: The sample.
        lower: Lower ends of the intervals of its values; curves are drawn over the band between them.
        upper: Upper ends.
    """
    kind = MODALITIES.get(sample.modality)
    if kind is None or not kind.rank or not sample.data.numel():
        return f"<pre>{html.escape(str(sample.data))}</pre>"
    if kind.pictured:
        return _image(png_of(sample) or b"", f"{sample.data.shape[2]} x {sample.data.shape[1]}")
    if kind.heard:
        return _player(sample)
    return _slices(sample.data) if kind.rank == 3 else _curves(sample, lower, upper)


def png_of(sample: Sample) -> bytes | None:
    """A picture as the bytes of a PNG file, made smaller where it is very large; None for other modalities."""
    kind = MODALITIES.get(sample.modality)
    if kind is None or not kind.pictured or not sample.data.numel():
        return None
    return _png(sample.data)


def html_of_rows(rows: list[list[Sample]], captions: list[str] | None = None) -> str:
    """Samples of several items, one row each."""
    parts = []
    for i, row in enumerate(rows):
        caption = f"<div>{html.escape(captions[i])}</div>" if captions else ""
        cells = "".join(f'<div style="margin:2px">{html_of(one)}</div>' for one in row)
        parts.append(f'{caption}<div style="display:flex;flex-wrap:wrap">{cells}</div>')
    return "".join(parts)


def html_of_distribution(distribution: dict[str, float], most: int = 8) -> str:
    """The most probable names with bars."""
    rows = []
    for name, p in list(distribution.items())[:most]:
        bar = f'<div style="background:#1f77b4;height:.8em;width:{max(1, round(200 * p))}px"></div>'
        rows.append(f"<tr><td>{html.escape(name)}</td><td>{p:.1%}</td><td>{bar}</td></tr>")
    left = len(distribution) - most
    more = f'<tr><td colspan="3">and {left} others</td></tr>' if left > 0 else ""
    return f"<table>{''.join(rows)}{more}</table>"


def _png(picture: Float[Tensor, "C H W"]) -> bytes:
    from PIL import Image

    data = picture.detach().float().cpu().nan_to_num().clamp(0, 1)
    data = data if data.shape[0] in (1, 3) else data[:1]
    array = (data * 255).round().byte().permute(1, 2, 0).numpy()
    shown = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    shown.thumbnail((LARGEST, LARGEST))
    buffer = BytesIO()
    shown.save(buffer, "PNG")
    return buffer.getvalue()


def _image(png: bytes, title: str) -> str:
    style = "min-width:128px;max-width:100%;image-rendering:pixelated"
    return f'<img title="{html.escape(title)}" style="{style}" src="data:image/png;base64,{_base64(png)}">'


def _player(sample: Sample) -> str:
    import soundfile

    buffer, sound = BytesIO(), sample.data.detach().float().cpu().clamp(-1, 1).numpy().T
    soundfile.write(buffer, sound, sample.sample_rate_hz or 16000, format="WAV", subtype="PCM_16")
    return f'<audio controls src="data:audio/wav;base64,{_base64(buffer.getvalue())}"></audio>'


def _slices(volume: Tensor) -> str:
    first = volume[0].detach().float().cpu()
    known = first[torch.isfinite(first)]
    low, high = (float(known.min()), float(known.max())) if known.numel() else (0.0, 1.0)
    scaled = (first - low) / max(high - low, 1e-12)
    middles = [scaled.select(axis, scaled.shape[axis] // 2) for axis in range(3)]
    images = "".join(_image(_png(one[None]), f"middle of axis {axis}") for axis, one in enumerate(middles))
    return f'<div style="display:flex;gap:4px">{images}</div>'


def _curves(sample: Sample, lower: Sample | None, upper: Sample | None) -> str:
    parts = []
    for row, channel in enumerate(_channels(sample)):
        ends = [end for end in (lower, upper) if end is not None and end.data.shape == sample.data.shape]
        band = [_channels(end)[row] for end in ends]
        known = np.concatenate([one[np.isfinite(one)] for one in (channel, *band)])
        if not np.isfinite(channel).any():
            continue
        low, high = float(known.min()), float(known.max())
        places = np.unique(np.linspace(0, len(channel) - 1, min(MOST_POINTS, len(channel))).astype(int))
        x = places / max(1, len(channel) - 1) * WIDTH
        ys = [HEIGHT - (one[places] - low) / max(high - low, 1e-300) * HEIGHT for one in (channel, *band)]
        lines = [
            f'<polyline fill="none" stroke-linecap="round" stroke="{COLOURS[row]}" points="{points}"/>'
            for points in _pieces(x, ys[0])
        ]
        if len(band) == 2:
            finite = np.isfinite(ys[1]) & np.isfinite(ys[2])
            wide = np.pad(finite & (ys[1] != ys[2]), 1)
            uncertain = finite & (wide[1:-1] | wide[:-2] | wide[2:])  # up to the known values beside a gap
            edges = [_pieces(x, np.where(uncertain, one, np.nan)) for one in ys[1:]]
            for under, over in zip(*edges, strict=True):
                around = " ".join([under, *reversed(over.split())])
                lines.insert(0, f'<polygon fill="{COLOURS[row]}" fill-opacity="0.25" points="{around}"/>')
        name = sample.channel_names[row] if sample.channel_names else f"channel {row + 1}"
        box = f'viewBox="-4 -4 {WIDTH + 8} {HEIGHT + 8}" width="{WIDTH}" height="{HEIGHT}"'
        parts.append(f"<div>{html.escape(name)}: {low:.6g} to {high:.6g}</div><svg {box}>{''.join(lines)}</svg>")
    left = sample.data.shape[0] - MOST_CURVES
    return "".join(parts) + (f"<div>and {left} more channels</div>" if left > 0 else "")


def _channels(sample: Sample) -> np.ndarray:
    values: np.ndarray = sample.data[:MOST_CURVES].detach().double().cpu().numpy()
    return values


def _pieces(x: np.ndarray, y: np.ndarray) -> list[str]:
    """Points "x,y" of every run of finite values; a lone one is there twice, so that it is drawn."""
    ends = np.flatnonzero(np.diff(np.concatenate([[0], np.isfinite(y).astype(int), [0]])))
    points = [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]
    runs = [points[i:j] for i, j in zip(ends[::2], ends[1::2], strict=True)]
    return [" ".join(run if len(run) > 1 else 2 * run) for run in runs]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
