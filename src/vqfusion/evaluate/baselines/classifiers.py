"""Classical classifiers that are fitted in seconds: the baselines of a model that was trained on one's own data."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.data.transforms import fit_picture, resample
from vqfusion.evaluate.baselines.sounds import mfcc, mfcc_statistics
from vqfusion.modalities import MODALITIES, Modality
from vqfusion.types import Sample

PARTS = 16  # of a sound, in each of which its MFCCs are averaged
LEVEL, SILENT = 0.1, 1e-4  # root mean square of a sound; energy below which it is silent, as a share of the largest
FAINT = 0.03  # gradients that are small beside it do not count
CELL, DIRECTIONS = 4, 9  # pixels a side and directions of gradients
SIDE = 32  # pixels to which pictures are reduced
MOST = 20_000  # records that a classifier is fitted on
REPEATED = 2000  # records from which on only words count that occur twice


class Classifier:
    """Names of texts, sounds or pictures.

    Texts: TF-IDF of words and pairs of words with logistic regression. Sounds: MFCCs (Davis, Mermelstein, 1980) in 16
    equal parts of the sound and over all of it, with a support vector machine. Pictures: histograms of oriented
    gradients (Dalal, Triggs, 2005) with a support vector machine.

    Args:
        modality: What is classified.
        records: Number of records that it will be fitted to.
    """

    def __init__(self, modality: str, records: int = 0):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        row = MODALITIES[modality]
        self.name, self.features = _kind(row)
        if row.in_words:
            rare = 2 if records > REPEATED else 1  # words that occur once cost most of the time and help little
            words = TfidfVectorizer(
                ngram_range=(1, 2), sublinear_tf=True, min_df=rare, token_pattern=r"(?u)\w+|[^\w\s]"
            )
            self.model: Any = make_pipeline(words, LogisticRegression(C=10.0, max_iter=60, tol=1e-3))
        elif row.heard:
            self.model = make_pipeline(StandardScaler(), SVC(C=10.0, gamma="scale"))
        else:  # scaling would make the faintest change of an empty margin count as much as a stroke
            self.model = SVC(C=10.0, gamma="scale")

    @staticmethod
    def takes(modality: str) -> bool:
        """Whether there is a classifier for a modality."""
        row = MODALITIES.get(modality)
        return row is not None and (row.in_words or row.heard or row.pictured)

    def fit(self, samples: Sequence[Sample], names: Sequence[str]) -> "Classifier":
        """Fit to samples with their names, of which there are two at least."""
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # enough iterations for a baseline
            self.model.fit(self.features(samples), list(names))
        return self

    def predict(self, samples: Sequence[Sample]) -> list[str]:
        """Name of each sample."""
        return [str(name) for name in self.model.predict(self.features(samples))]


def _kind(row: Modality) -> tuple[str, Any]:
    """Name of the classifier of a modality, and its features."""
    if row.in_words:
        return "TF-IDF + logistic regression", lambda samples: [sample.data for sample in samples]
    if row.heard:
        return "MFCC + SVM", sound_features
    return "HOG + SVM", picture_features


def sound_features(samples: Sequence[Sample], sample_rate_hz: int = 8000) -> np.ndarray:
    """MFCCs of each sound in `PARTS` equal parts, and their mean and deviation over the whole."""
    rows = []
    for sample in samples:
        sound = resample(sample, sample_rate_hz).data.float()
        sound = sound * (LEVEL / sound.square().mean().sqrt().clamp_min(1e-6))
        frames = mfcc(sound, sample_rate_hz, 13, SILENT)
        parts = F.adaptive_avg_pool1d(frames[None], PARTS)[0].flatten()
        rows.append(torch.cat([parts, mfcc_statistics(sound, sample_rate_hz, SILENT)]).numpy())
    return np.stack(rows)


def picture_features(samples: Sequence[Sample]) -> np.ndarray:
    """Histograms of oriented gradients of each picture at 32 pixels a side, and its colours at 4."""
    pictures = torch.stack([_coloured(fit_picture(sample.data, SIDE)) for sample in samples])
    colours = F.adaptive_avg_pool2d(pictures, 4).flatten(1)
    return torch.cat([oriented_gradients(pictures.mean(dim=1)), colours], dim=1).numpy()


def _coloured(picture: Float[Tensor, "C H W"]) -> Float[Tensor, "3 H W"]:
    return picture.expand(3, -1, -1) if len(picture) == 1 else picture[:3]


def oriented_gradients(grey: Float[Tensor, "B H W"]) -> Float[Tensor, "B D"]:
    """Histograms of oriented gradients: Dalal, Triggs (2005).

    Gradients by central differences; directions without sign, each gradient shared by the two nearest of `DIRECTIONS`;
    cells of `CELL` pixels; blocks of 2 x 2 cells, each of unit length unless all of it is faint.
    """
    x = F.pad(grey[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across, down = x[:, 1:-1, 2:] - x[:, 1:-1, :-2], x[:, 2:, 1:-1] - x[:, :-2, 1:-1]
    size = (across.square() + down.square()).sqrt()
    direction = (torch.atan2(down, across) % math.pi) * DIRECTIONS / math.pi
    low = direction.floor()
    share = direction - low
    first = F.one_hot(low.long() % DIRECTIONS, DIRECTIONS) * (size * (1 - share))[..., None]
    second = F.one_hot((low.long() + 1) % DIRECTIONS, DIRECTIONS) * (size * share)[..., None]
    cells = F.avg_pool2d((first + second).permute(0, 3, 1, 2), CELL)
    blocks = F.unfold(cells, 2)  # [B, directions * 4, blocks]
    length = (blocks.square().sum(dim=1, keepdim=True) + FAINT**2).sqrt()
    return (blocks / length).flatten(1)
