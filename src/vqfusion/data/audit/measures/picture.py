"""Measurements of pictures: detail, exposure, blur, a perceptual signature, and gradients by place."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import fft, ndimage
from torch.nn import functional

from vqfusion.data.audit.item import Measured
from vqfusion.types import Sample

TILE, TILES = 256, 3  # the sharpness of large pictures is measured in TILES x TILES tiles
FINE, COARSE = 1.0, 2.0  # pixels, widths of the two filters that measure the width of edges
EDGES, LEAST_EDGE = 0.01, 0.01  # fraction of the pixels that counts as edges, and smallest gradient per pixel of one
LOW = 10  # spatial frequencies of the signature along each axis
SIDE, CELLS, TURNS = 64, 8, 9  # pixels, cells and orientations of the embedding


def measure_picture(sample: Sample) -> Measured:
    """Measure a picture `[C, H, W]` in [0, 1]."""
    data = sample.data.detach().float().cpu()
    colours = data[:3] if len(data) >= 3 else data[:1]
    luma = colours.mean(0).numpy()
    height, width = luma.shape
    low, high = np.quantile(luma, (0.01, 0.99))
    facts = {
        "spread": float(luma.std()),
        "range": float(high - low),
        "saturated": float(((colours >= 254.5 / 255) | (colours <= 0.5 / 255)).float().mean()),
    }
    if min(height, width) >= 16 and (blur := edge_width(luma)) is not None:
        facts["blur_px"] = blur
    small = functional.interpolate(colours[None], (SIDE, SIDE), mode="area")[0].numpy()
    sizes = {"pixels": float(height * width), "aspect": height / width}
    proportions = {"aspect": height / width}
    return Measured(facts, sizes, _signature(small), _embedding(small), proportions, tint=_tint(small))


def edge_width(luma: Float[np.ndarray, "H W"]) -> float | None:
    """Standard deviation in pixels of the blur of the sharpest edges; None where there is no edge.

    A step that was blurred by a Gaussian of width s has, after a further one of width a, a gradient of
    1 / sqrt(s^2 + a^2); the ratio r of the gradients at two widths a < b therefore gives s^2 = (b^2 - r^2 a^2) /
    (r^2 - 1) (Zhuo, Sim, 2011, "Defocus map estimation from a single image", equation 7). The lower quartile over the
    strongest edges is taken, since a sharp picture may have a blurred background.
    """
    fine, coarse = [], []
    for tile in _tiles(luma):
        fine.append(ndimage.gaussian_gradient_magnitude(tile, FINE).ravel())
        coarse.append(ndimage.gaussian_gradient_magnitude(tile, COARSE).ravel())
    strong, weak = np.concatenate(fine), np.concatenate(coarse)
    edges = strong >= max(float(np.quantile(strong, 1 - EDGES)), LEAST_EDGE)
    if not edges.any():
        return None
    ratio = np.maximum(strong[edges] / np.maximum(weak[edges], 1e-9), 1 + 1e-3) ** 2
    squared = (COARSE**2 - ratio * FINE**2) / (ratio - 1)
    return float(np.sqrt(max(0.0, np.quantile(squared, 0.25))))


def _tiles(luma: np.ndarray) -> list[np.ndarray]:
    """The whole of a small picture, or tiles spread over a large one."""
    if max(luma.shape) <= TILE * TILES:
        return [luma]
    starts = [np.unique(np.linspace(0, max(0, side - TILE), TILES).astype(int)) for side in luma.shape]
    return [luma[y : y + TILE, x : x + TILE] for y in starts[0] for x in starts[1]]


def _tint(small: Float[np.ndarray, "C S S"]) -> np.ndarray:
    """Low spatial frequencies of colour, in units of those of brightness, so that exposure and contrast cancel."""
    luma = small.mean(0)
    planes = np.stack([luma, *(channel - luma for channel in (small[0], small[-1]))])
    y, x = np.mgrid[:LOW, :LOW]
    waves = fft.dctn(planes, axes=(1, 2), norm="ortho")[:, :LOW, :LOW] * np.hypot(y, x)
    return (waves[1:].ravel() / max(float(np.linalg.norm(waves[0])), 1e-3)).astype(np.float16)


def _signature(small: Float[np.ndarray, "C S S"]) -> np.ndarray:
    """Low spatial frequencies of brightness and colour, weighted by frequency, as one vector of unit length.

    Brightness without its mean and scaled to unit length does not depend on exposure and contrast. Photographs have
    amplitudes of about 1 / frequency, which the weights undo, so that details count as much as the coarse layout.
    """
    luma = small.mean(0)
    waves = fft.dctn(luma, norm="ortho")[:LOW, :LOW]
    y, x = np.mgrid[:LOW, :LOW]
    waves = (waves * np.hypot(y, x)).ravel()[1:]
    parts = [waves / max(float(np.linalg.norm(waves)), 1e-6)]
    if len(small) == 3:
        colours = np.stack([small[0] - luma, small[2] - luma])
        coarse = fft.dctn(colours, axes=(1, 2), norm="ortho")[:, :4, :4].ravel() / SIDE
        parts.append(2 * coarse)  # a difference of half of the range of colour counts as much as all brightness
    else:
        parts.append(np.zeros(32))
    joined = np.concatenate(parts)
    return (joined / max(float(np.linalg.norm(joined)), 1e-6)).astype(np.float16)


def _embedding(small: Float[np.ndarray, "C S S"]) -> np.ndarray:
    """Histograms of oriented gradients (Dalal, Triggs, 2005) in 8 x 8 cells, and coarse colours."""
    luma = small.mean(0)
    dy, dx = np.gradient(luma)
    strength, angle = np.hypot(dx, dy), np.arctan2(dy, dx) % np.pi
    turn = angle / np.pi * TURNS
    first = np.floor(turn).astype(int) % TURNS
    share = turn - np.floor(turn)
    cells = np.zeros((TURNS, SIDE, SIDE), np.float32)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    cells[first, rows, columns] += strength * (1 - share)
    cells[(first + 1) % TURNS, rows, columns] += strength * share
    side = SIDE // CELLS
    histograms = cells.reshape(TURNS, CELLS, side, CELLS, side).sum((2, 4))
    norms = np.sqrt(ndimage.uniform_filter((histograms**2).sum(0), 3) * TURNS) + 0.1
    colours = functional.interpolate(torch.from_numpy(small)[None], (4, 4), mode="area")[0].expand(3, -1, -1)
    return np.concatenate([(histograms / norms).ravel(), colours.numpy().ravel()]).astype(np.float16)
