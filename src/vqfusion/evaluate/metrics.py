"""Metrics, each from its own paper; only STOI needs another package."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from torch.nn import functional as F

from vqfusion.errors import UserError, needs_extra


@dataclass(frozen=True)
class Proportion:
    """A fraction of successes, or a mean, with a 95 % interval.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of items.
    """

    value: float
    low: float
    high: float
    n: int


def psnr(picture: Float[Tensor, "*B C H W"], reference: Float[Tensor, "..."], peak: float = 1.0) -> Float[Tensor, "*B"]:
    """Peak signal-to-noise ratio in dB, one value per picture.

    10 log10(peak^2 / MSE) with the mean over channels and pixels; infinite for equal pictures. Published tables average
    these values over pictures, not the errors over all pixels.

    Args:
        picture: Pictures.
        reference: References of the same shape.
        peak: Largest possible value.

    Returns:
        dB for each picture.
    """
    _same_shape(picture, reference)
    error = (picture.double() - reference.double()).square().mean(dim=(-3, -2, -1))
    return (10.0 * torch.log10(peak**2 / error)).to(picture.dtype)


def ssim(picture: Float[Tensor, "*B C H W"], reference: Float[Tensor, "..."], peak: float = 1.0) -> Float[Tensor, "*B"]:
    """Structural similarity in [-1, 1], one value per picture: Wang, Bovik, Sheikh, Simoncelli (2004).

    With the constants of the paper: Gaussian window of 11 x 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, population
    variances. The mean is over channels and over the windows that lie inside the picture.

    Args:
        picture: Pictures of at least 11 x 11 pixels.
        reference: References of the same shape.
        peak: Range of the values.

    Returns:
        Similarity of each picture.

    Raises:
        UserError: The pictures are too small or differ in shape.
    """
    _same_shape(picture, reference)
    if min(picture.shape[-2:]) < 11:
        raise UserError(f"ssim needs pictures of at least 11x11 pixels, got {tuple(picture.shape[-2:])}")
    position = torch.arange(-5, 6, dtype=torch.float64)
    weight = torch.exp(-0.5 * (position / 1.5) ** 2)
    weight = (weight / weight.sum()).to(picture.device)

    def blur(x: Tensor) -> Tensor:
        x = x.reshape(-1, 1, *x.shape[-2:])
        return F.conv2d(F.conv2d(x, weight.view(1, 1, 11, 1)), weight.view(1, 1, 1, 11))

    x, y = picture.double(), reference.double()
    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    )
    return similarity.mean(dim=(-3, -2, -1)).view(picture.shape[:-2]).mean(-1).to(picture.dtype)


def stoi(sound: Float[Tensor, "*C T"], clean: Float[Tensor, "*C S"], sample_rate_hz: int) -> float:
    """Short-time objective intelligibility, about 0 to 1: Taal, Hendriks, Heusdens, Jensen (2011).

    Both sounds are cut to the shorter one. NaN where fewer than 30 frames (0.38 s) of speech remain after silence is
    removed, because the measure is not defined there. Needs the extra `eval`.

    Args:
        sound: Processed sound; only its first channel counts.
        clean: Clean sound.
        sample_rate_hz: Sample rate of both.

    Returns:
        The intelligibility.

    Raises:
        MissingExtra: pystoi is not installed.
    """
    try:
        from pystoi import stoi as taal
    except ImportError:
        raise needs_extra("pystoi", "eval", "stoi") from None
    length = min(sound.shape[-1], clean.shape[-1])
    pair = [x.reshape(-1, x.shape[-1])[0, :length].double().cpu().numpy() for x in (clean, sound)]
    if length == 0 or not any(pair[0]) or not any(pair[1]):
        return math.nan if length == 0 or not any(pair[0]) else 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return float(taal(*pair, sample_rate_hz))
        except (RuntimeWarning, ValueError):
            return math.nan


def edit_distance(a: Sequence, b: Sequence) -> int:
    """Smallest number of insertions, deletions and substitutions that turn `a` into `b`: Levenshtein (1966)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def character_error_rate(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Edits per character of the references, over the whole list; 0 is perfect, values above 1 are possible."""
    if len(hypotheses) != len(references):
        raise UserError(f"{len(hypotheses)} hypotheses for {len(references)} references: give one for each")
    characters = sum(map(len, references))
    if not characters:
        raise UserError("the references hold no character: an error rate is not defined")
    return sum(map(edit_distance, hypotheses, references)) / characters


def usage_and_perplexity(indices: Int[Tensor, "..."], codebook_size: int) -> tuple[float, float]:
    """Fraction of codes in use, in [0, 1], and exp(entropy of their frequencies), in [1, codebook_size].

    Computed from all given indices at once: pass a whole test set, not a batch.
    """
    count = torch.bincount(indices.reshape(-1), minlength=codebook_size).double()
    if count.numel() > codebook_size or not count.sum():
        raise UserError(f"indices must be non-empty and lie in [0, {codebook_size})")
    share = count / count.sum()
    entropy = -torch.special.xlogy(share, share).sum()
    return float((count > 0).double().mean()), float(entropy.exp())


def accuracy(correct: Bool[Tensor, " N"] | Sequence[bool]) -> Proportion:
    """Fraction of True with its 95 % interval: Wilson (1927), which is accurate near 0 and 1 and for small N."""
    n, z = len(correct), 1.959964
    if n == 0:
        raise UserError("accuracy of an empty list is not defined")
    p = float(sum(bool(c) for c in correct)) / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Proportion(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), n)


def ratio_interval(
    numerator: Num[Tensor, " N"], denominator: Num[Tensor, " N"] | None = None, seed: int = 0
) -> Proportion:
    """sum(numerator) / sum(denominator) with a 95 % bootstrap interval over items: Efron (1979), 1,000 draws.

    For rates whose items differ in length, such as edits per character, and for means of PSNR or STOI.

    Args:
        numerator: One number for each item.
        denominator: One number for each item; None for the mean of `numerator`.
        seed: Seed of the draws.

    Returns:
        The ratio with its interval.
    """
    if len(numerator) == 0:
        raise UserError("the mean of an empty list is not defined")
    top = numerator.double()
    bottom = torch.ones_like(top) if denominator is None else denominator.double()
    pick = torch.randint(len(top), (1000, len(top)), generator=torch.Generator().manual_seed(seed))
    draws = top[pick].sum(1) / bottom[pick].sum(1)
    low, high = torch.quantile(draws, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Proportion(float(top.sum() / bottom.sum()), low, high, len(top))


def expected_calibration_error(confidence: Float[Tensor, " N"], correct: Bool[Tensor, " N"], bins: int = 15) -> float:
    """Mean difference between confidence and accuracy, in [0, 1]: Naeini et al. (2015); Guo et al. (2017), eq. 3.

    Args:
        confidence: Probability of each answer.
        correct: Whether each answer is right.
        bins: Number of bins of equal width on [0, 1], each weighted by its number of answers.

    Returns:
        The error.
    """
    bucket = (confidence.double() * bins).long().clamp(0, bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, bucket, correct.double() - confidence.double())
    return float(gap.abs().sum() / len(confidence))


def _same_shape(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.dim() < 3:
        raise UserError(f"pictures must have one shape [..., C, H, W]; got {tuple(a.shape)} and {tuple(b.shape)}")
