"""Baselines for pictures: mean picture, JPEG, nearest neighbour, HOG with a linear SVM."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from vqfusion.errors import UserError, needs_extra


def mean_picture(train: Float[Tensor, "N C H W"]) -> Float[Tensor, "C H W"]:
    """Mean of the training pictures, the constant with the smallest mean squared error."""
    return train.mean(0)


@dataclass(frozen=True)
class Coded:
    """A picture after a classical codec.

    Attributes:
        data: Decoded picture.
        size_bytes: Size of the file, headers included.
        within_budget: Whether the file fits the budget.
    """

    data: Tensor
    size_bytes: int
    within_budget: bool


def jpeg(picture: Float[Tensor, "C H W"], budget_bytes: int) -> Coded:
    """Encode as the best JPEG (Pillow, optimised Huffman tables) of at most `budget_bytes`, and decode.

    Header and tables of JPEG take several hundred bytes for any picture. Where not even quality 1 fits, the result is
    the smallest JPEG with `within_budget` False.
    """
    from PIL import Image

    array = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(array.squeeze())

    def code(quality: int, subsampling: int) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality, optimize=True, subsampling=subsampling)
        return buffer.getvalue()

    low, high = 1, 95  # size grows with quality: bisection
    smallest = best = code(1, 2)
    while low <= high:
        middle = (low + high) // 2
        data = code(middle, 2)
        if len(data) <= budget_bytes:
            best, low = data, middle + 1
        else:
            high = middle - 1
    fits = len(smallest) <= budget_bytes
    data = best if fits else smallest
    decoded = np.asarray(Image.open(io.BytesIO(data)), dtype=np.float32) / 255
    back = torch.from_numpy(decoded.reshape(*decoded.shape[:2], -1)).permute(2, 0, 1)
    return Coded(back, len(data), fits)


def nearest_picture(query: Float[Tensor, "Q C H W"], train: Float[Tensor, "N C H W"]) -> Int[Tensor, " Q"]:
    """Index of the training picture with the smallest squared pixel distance, for each query."""
    if query.shape[1:] != train.shape[1:]:
        raise UserError(f"pictures differ in shape: {tuple(query.shape[1:])} and {tuple(train.shape[1:])}")
    centre = train.mean(0).flatten()  # centred, so that float32 keeps the small differences
    q, n = query.flatten(1) - centre, train.flatten(1) - centre
    return (n.square().sum(1)[None] - 2 * q @ n.T).argmin(1)


class HogClassifier:
    """Histograms of oriented gradients (Dalal, Triggs, 2005) of all colours with a linear SVM.

    Cells of 8 x 8 pixels, blocks of 2 x 2 cells, 9 directions, plus the picture reduced to 8 x 8 pixels for its
    colours, without which the baseline is weaker. One SVM for each pair of classes. Needs the extra `eval`.
    """

    def __init__(self, penalty: float = 1.0):
        from sklearn.svm import SVC

        self.model = SVC(kernel="linear", C=penalty)

    def fit(self, pictures: Float[Tensor, "N C H W"], labels: Sequence[str]) -> "HogClassifier":
        """Train on labelled pictures."""
        self.model.fit(self.features(pictures), list(labels))
        return self

    def predict(self, pictures: Float[Tensor, "N C H W"]) -> list[str]:
        """Predicted label of each picture."""
        return [str(label) for label in self.model.predict(self.features(pictures))]

    @staticmethod
    def features(pictures: Float[Tensor, "N C H W"]) -> np.ndarray:
        """Feature vector of each picture."""
        try:
            from skimage.feature import hog
        except ImportError:
            raise needs_extra("scikit-image", "eval", "HOG") from None
        colours = torch.nn.functional.adaptive_avg_pool2d(pictures, 8).flatten(1).numpy()
        edges = [hog(p, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=0) for p in pictures.numpy()]
        return np.concatenate([np.stack(edges), colours], axis=1)
