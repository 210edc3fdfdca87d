"""Handwritten digits of scikit-learn: 1,797 pictures of 8 x 8 pixels (Alpaydin, Kaynak, 1998)."""

from collections import Counter
from functools import partial

import numpy as np
import torch

from vqfusion.data.record import Dataset, Record
from vqfusion.types import Sample


def _picture(pixels: np.ndarray) -> Sample:
    return Sample("image", torch.from_numpy(pixels.astype(np.float32) / 16)[None])


def open_digits() -> Dataset:
    """Slots `image` `[1, 8, 8]` in [0, 1] and `label` "0" to "9".

    The split is stratified and fixed: of every ten examples of a class, in the order of the file, the last is test and
    the one before it val.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    seen: Counter[int] = Counter()
    records = []
    for index, (pixels, target) in enumerate(zip(digits.images, digits.target.tolist(), strict=True)):
        split = {8: "val", 9: "test"}.get(seen[target] % 10, "train")
        seen[target] += 1
        sources = {"image": partial(_picture, pixels), "label": partial(Sample, "label", str(target))}
        records.append(Record(f"digit-{index:04d}", split, sources=sources))
    return Dataset("digits", records, licence="UCI digits as shipped with scikit-learn (BSD-3-Clause)")
