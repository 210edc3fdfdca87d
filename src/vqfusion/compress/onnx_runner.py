"""Remove noise with prior.onnx, without torch: needs numpy, onnxruntime and, for pictures, Pillow.

    python run.py noisy.png clean.png 25/255

The last argument is the noise level in the units of the signal (pictures: 0 to 1); without it the network finds it.
Volumes, sounds and series are .npy arrays [*size] or [channels, *size] in the value range that the model names.
"""

import itertools
import json
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime

TILES = {1: 2**17, 2: 512, 3: 64}  # side of a tile by rank, without its margin


def denoise(session, x, sigma=0.0, tile=None):
    """Clean signal for x [channels, *size] of any size; sigma is a number or a map like x, 0 where unknown."""
    about = {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}
    multiple, margin, size = about["multiple"], about["tile_margin"], x.shape[1:]
    tile = -(-(tile or TILES[len(size)]) // multiple) * multiple
    x, level = np.asarray(x, np.float32), np.broadcast_to(np.asarray(sigma, np.float32), x.shape)
    for axis, length in enumerate(size, start=1):
        pads = [(0, -length % multiple if a == axis else 0) for a in range(x.ndim)]
        mode = "reflect" if pads[axis][1] < length else "edge"
        x, level = np.pad(x, pads, mode=mode), np.pad(level, pads, mode=mode)
    clean = np.empty_like(x)
    for start in itertools.product(*(range(0, length, tile) for length in x.shape[1:])):
        inner = [(a, min(a + tile, n)) for a, n in zip(start, x.shape[1:], strict=True)]
        wide = [(max(0, a - margin), min(b + margin, n)) for (a, b), n in zip(inner, x.shape[1:], strict=True)]
        part = (slice(None), *(slice(*ends) for ends in wide))
        [made] = session.run(None, {"x": x[part][None], "sigma": level[part][None]})
        within = (slice(None), *(slice(a - c, b - c) for (a, b), (c, _) in zip(inner, wide, strict=True)))
        clean[(slice(None), *(slice(*ends) for ends in inner))] = made[0][within]
    return clean[(slice(None), *(slice(n) for n in size))]


def main(source, result, sigma="0"):
    """Restore the file `source` at a noise level and write `result`."""
    session = onnxruntime.InferenceSession(Path(__file__).with_name("prior.onnx"))
    channels, rank = session.get_inputs()[0].shape[1], len(session.get_inputs()[0].shape) - 2
    if source.endswith(".npy"):
        x = np.load(source)
        np.save(result, denoise(session, x.reshape(-1, *x.shape[-rank:]), float(Fraction(sigma))).reshape(x.shape))
        return
    from PIL import Image

    picture = np.asarray(Image.open(source).convert("RGB" if channels == 3 else "L"), np.float32) / 255
    clean = denoise(session, picture.reshape(*picture.shape[:2], -1).transpose(2, 0, 1), float(Fraction(sigma)))
    Image.fromarray(np.rint(255 * clean.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0).squeeze()).save(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
