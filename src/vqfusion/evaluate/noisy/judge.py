"""What can be known of a denoiser from noisy signals: its risk, the structure that it lost or made, error bars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vqfusion.diffusion.gaussian.noise_correlation import noise_correlation
from vqfusion.diffusion.gaussian.noise_curve import noise_curve
from vqfusion.diffusion.gaussian.noise_level import SIDES, estimate_noise
from vqfusion.errors import UserError
from vqfusion.evaluate.noisy.baselines import Denoiser, baselines
from vqfusion.evaluate.noisy.whiteness import Whiteness, spectrum, whiteness
from vqfusion.models.restoration.intervals import EVERYTHING, Calibration
from vqfusion.models.restoration.own_noise import HELD_OUT, held_out
from vqfusion.models.restoration.prior import Prior
from vqfusion.models.restoration.residual_band import ResidualBand, local_features
from vqfusion.nn.blind_spot import blinded, separated, trimmed
from vqfusion.nn.windows import local_mean

MOST = 2**18  # elements that are judged
PROBE = 0.1  # step of the divergence, in noise levels
NORMAL = 1.6449  # half-width of the 90 % interval of a normal distribution, in deviations
COVERAGE = 0.9
NEAR, NEAR_SURPLUS = 5, 0.3  # window over which squared errors are averaged for the regression, and its surplus
DAMPED = 0.25  # power of the widths of the regression that is used: it takes noise for differences
BLOCK = {1: 256, 2: 24, 3: 12}  # side of the blocks whose means tell a standard error, by rank
LITTLE = 0.02  # power of the detail / variance of the noise below which a step along it is of no account
LEVEL_OFF = 0.02  # standard error of the variance of the noise
SCALES = (3, 7)  # windows whose mean is subtracted to see the detail of an estimate


@dataclass(frozen=True)
class Part:
    """A noisy signal with its noise level and estimate, in elements a stride apart; all `[B, C, *size]`.

    Attributes:
        y: Noisy signal.
        sigma: Noise level.
        mean: Estimate.
        own: Product of a random probe and what the estimate answers to it: on average the derivative of each element of
            the estimate to its own input (Ramani et al., 2008).
        detail: Fine structure of the estimate, one for each scale.
        own_detail: As `own`, of the details.
        hidden: Held-out elements.
    """

    y: Tensor
    sigma: Tensor
    mean: Tensor
    own: Tensor
    detail: list[Tensor]
    own_detail: list[Tensor]
    hidden: Tensor

    @property
    def squared_error(self) -> Tensor:
        """Unbiased estimate of the squared error of each element against the unknown clean one (Stein, 1981)."""
        return (self.y - self.mean).square() - self.sigma.square() * (1 - 2 * self.own)


@dataclass(frozen=True)
class Facts:
    """What was measured; errors are relative to the variance of the noise.

    Attributes:
        sigma: Root mean square of the noise level, in the units of the prior.
        elements: Number of elements that were judged.
        residual: Variance of the residual / that of the noise.
        risk: Estimated mean squared error against the unknown clean signals, of the prior and of each baseline.
        hidden: Mean squared difference from held-out noisy elements, which were replaced in the input.
        white: Autocorrelation of the residual.
        bands: Spectrum of the residual.
        noise: Correlation of the noise between neighbours along each axis.
        lost: Further share of its own fine structure that would bring the estimate nearest to the truth: positive where
            it is too smooth, negative where it shows too much; for each scale.
        lost_error: Standard error of each.
        covered: Estimated coverage of the 90 % intervals of the clean values, on elements that did not calibrate them.
        covered_error: Its standard error.
        covered_noisy: Share of held-out noisy elements inside their intervals, widened by the noise.
    """

    sigma: float
    elements: int
    residual: float
    risk: dict[str, float]
    hidden: dict[str, float]
    white: Whiteness
    bands: tuple[float, ...]
    noise: tuple[float, ...]
    lost: tuple[float, ...]
    lost_error: tuple[float, ...]
    covered: float | None
    covered_error: float
    covered_noisy: float | None


@torch.no_grad()
def judge(prior: Prior, signals: Sequence[Float[Tensor, "C ..."]], seed: int = 0) -> tuple[Facts, Calibration | None]:
    """Judge a prior on noisy signals `[C, *size]` in its units, and calibrate 90 % intervals of the clean values.

    Args:
        prior: Prior that learned from noisy data alone.
        signals: Noisy signals; the numbers of the first ones are those of training, for their held-out elements.
        seed: Random seed.

    Returns:
        What was measured, and the intervals, None where the noise level is too uncertain for them.

    Raises:
        UserError: No signal is large enough.
    """
    generator = torch.Generator().manual_seed(2_718_281 + seed)  # noise that was made up with a small seed is another
    parts: list[Part] = []
    seen, correlations = 0, []
    rank = prior.config.rank
    for number, signal in enumerate(signals):
        if seen >= MOST:
            break
        part = _part(prior, signal, number, MOST - seen, generator)
        if part is not None:
            seen += part.y.numel()
            parts.append(part)
            correlations.append(noise_correlation(part.y[0]).correlation[:, 0])
    if not parts:
        raise UserError(f"no signal has noise and {2 * SIDES[rank]} values a side: nothing can be judged")
    variance = sum(float(part.sigma.square().sum()) for part in parts) / seen
    lost, lost_error = zip(*(_lost(parts, k) for k in range(len(SCALES))), strict=True)
    risk = {"prior": sum(float(part.squared_error.sum()) for part in parts) / seen / variance}
    hidden: dict[str, float] = {}
    for name, denoise in baselines(rank).items():
        risk[name] = sum(_stein(denoise, part, generator) for part in parts) / seen / variance
    for name, method in {"prior": None, **baselines(rank)}.items():
        hidden[name] = float(torch.cat([_at_hidden(prior, method, part) for part in parts]).mean()) / variance
    residuals = [part.y - part.mean for part in parts]
    widest = max(residuals, key=Tensor.numel)
    calibration, covered, error, noisy = _intervals(prior, parts, variance)
    facts = Facts(
        sigma=variance**0.5,
        elements=seen,
        residual=sum(float(r.square().sum()) for r in residuals) / seen / variance,
        risk=risk,
        hidden=hidden,
        white=whiteness(widest / widest.std()),
        bands=tuple(spectrum(widest).tolist()),
        noise=tuple(torch.stack(correlations).median(0).values.tolist()),
        lost=lost,
        lost_error=lost_error,
        covered=covered,
        covered_error=error,
        covered_noisy=noisy,
    )
    return facts, calibration


def _part(prior: Prior, signal: Tensor, number: int, room: int, generator: torch.Generator) -> Part | None:
    """The middle of a signal, of at most `room` elements, with its estimate; None where it is too small."""
    config, noise = prior.config, prior.config.noise
    stride = noise.stride if noise is not None else (1,) * config.rank
    multiple = prior.network.multiple
    least = [-(-2 * SIDES[config.rank] // multiple) * multiple] * config.rank
    whole = trimmed(signal[None], [multiple * step for step in stride])
    if any(n // step < low for n, step, low in zip(whole.shape[2:], stride, least, strict=True)):
        return None
    hidden = trimmed(held_out(tuple(signal.shape), number)[None], [multiple * step for step in stride])
    y, hidden = separated(whole, stride)[:1], separated(hidden, stride)[:1]
    side = int((room / y.shape[1]) ** (1 / config.rank)) // multiple * multiple
    for axis in range(2, y.ndim):
        length = min(y.shape[axis], max(side, least[0]))
        begin = (y.shape[axis] - length) // 2
        y, hidden = (x.narrow(axis, begin, length) for x in (y, hidden))
    curve = noise_curve([y[0]]) if noise is not None and noise.dependent else None
    sigma = curve.sigma(y) if curve is not None else estimate_noise(y).reshape(-1, *[1] * (y.ndim - 1)).expand(y.shape)
    if not bool(sigma.any()):
        return None
    mean = prior.of_part(y, sigma)
    probe = torch.randn(y.shape, generator=generator).sign()
    step = PROBE * sigma
    moved = (prior.of_part(y + step * probe, sigma) - mean) / step
    details = [_detail(mean, window) for window in SCALES]
    shifted = [_detail(mean + step * moved, window) for window in SCALES]
    own_details = [probe * (b - a) / step for a, b in zip(details, shifted, strict=True)]
    return Part(y, sigma, mean, probe * moved, details, own_details, hidden)


def _detail(x: Tensor, window: int) -> Tensor:
    """A signal without its local mean."""
    return x - local_mean(x, window)


def _lost(parts: Sequence[Part], k: int) -> tuple[float, float]:
    """Best step along the detail h of the estimate, E[(x - f) h] / E[h^2], and its standard error.

    E[(x - f) h] = E[(y - f) h] - sigma^2 E[dh/dy] by Stein's lemma; for the posterior mean it is 0 for every h. The
    standard error is that of means of blocks, since neighbours are alike, and of the level.
    """
    products, blocks, answers = [], [], []
    for one in parts:
        answered = one.sigma.square() * one.own_detail[k]
        product = (one.y - one.mean) * one.detail[k] - answered
        side, pool = min(BLOCK[one.y.ndim - 2], *one.y.shape[2:]), (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
        blocks.append(pool[one.y.ndim - 3](product, side).flatten())
        products.append(product.flatten())
        answers.append(answered.flatten())
    power = torch.cat([one.detail[k].square().flatten() for one in parts]).mean().clamp(min=1e-20)
    noise = torch.cat([one.sigma.square().flatten() for one in parts]).mean()
    scale = torch.maximum(power, LITTLE * noise)
    means = torch.cat(blocks)
    of_mean = means.std(correction=0) / max(1, len(means) - 1) ** 0.5
    error = torch.hypot(of_mean, LEVEL_OFF * torch.cat(answers).mean())
    return float(torch.cat(products).mean() / scale), float(error / scale)


def _stein(denoise: Denoiser, part: Part, generator: torch.Generator) -> float:
    """Sum of the estimated squared errors of a denoiser."""
    sigma = float(part.sigma.square().mean().sqrt())
    probe = torch.randn(part.y.shape, generator=generator).sign()
    made = denoise(part.y, sigma)
    own = probe * (denoise(part.y + PROBE * part.sigma * probe, sigma) - made) / (PROBE * part.sigma)
    return float(((part.y - made).square() - part.sigma.square() * (1 - 2 * own)).sum())


def _at_hidden(prior: Prior, denoise: Denoiser | None, part: Part) -> Tensor:
    """Squared differences of estimates from held-out elements, which were replaced by medians of their surroundings."""
    if denoise is None:
        made = _blind(partial(prior.of_part, levels=part.sigma), part)
    else:
        made = _blind(partial(denoise, sigma=float(part.sigma.square().mean().sqrt())), part)
    return (made - part.y).square()[part.hidden]


def _blind(denoise: Callable[[Tensor], Tensor], part: Part) -> Tensor:
    hidden = part.hidden[0, 0]
    return denoise(blinded(part.y, hidden)) if bool(hidden.any()) else denoise(part.y)


def _intervals(
    prior: Prior, parts: Sequence[Part], variance: float
) -> tuple[Calibration | None, float | None, float, float | None]:
    """Intervals calibrated on one half of the elements, and their coverage on the other half.

    The squared error of each element is expected from local features by a regression on local means of its unbiased
    estimates, damped, and scaled so that both have the same mean. Errors are taken as normal with this variance, so
    that an interval for a noisy value is that of the clean one, convolved with the noise.
    """
    features, errors, smooth, first = [], [], [], []
    for part in parts:
        features.append(local_features(part.mean, part.y, part.sigma).flatten(0, -2))
        errors.append(part.squared_error.flatten())
        near = local_mean(part.squared_error, NEAR)
        smooth.append(near.flatten())
        rows = torch.arange(part.y.shape[2]) // 8 % 2 == 0  # bands of 8 elements alternate
        first.append(rows.reshape(1, 1, -1, *[1] * (part.y.ndim - 3)).expand(part.y.shape).flatten())
    x, u, near, fits = torch.cat(features), torch.cat(errors), torch.cat(smooth), torch.cat(first)
    mean, spread = float(u[fits].mean()), float(u[fits].std()) / int(fits.sum()) ** 0.5
    if mean < 3 * spread:
        return None, None, 0.0, None
    with torch.enable_grad():
        band = ResidualBand.fit(x[fits], near[fits], steps=300, surplus=NEAR_SURPLUS * variance)
    band = replace(band, out=tuple(DAMPED * one for one in band.out), out_bias=DAMPED * band.out_bias)
    width = band._network(x, [torch.as_tensor(part).to(x) for part in band._parts()])
    scale = float(u[fits].mean() / width[fits].square().mean()) ** 0.5
    expected = float((scale * width[~fits]).square().mean())
    ratio = float(u[~fits].mean()) / expected
    error = float(u[~fits].std()) / int((~fits).sum()) ** 0.5 / expected
    covered = _normal_coverage(ratio)
    covered_error = abs(_normal_coverage(max(ratio - error, 1e-3)) - _normal_coverage(ratio + error)) / 2
    calibration = Calibration(COVERAGE, {EVERYTHING: NORMAL * scale}, {EVERYTHING: int(fits.sum())}, band=band)
    return calibration, covered, covered_error, _noisy_coverage(prior, parts, width * scale)


def _normal_coverage(ratio: float) -> float:
    """Share of normal errors inside 90 % intervals where their variance is `ratio` times the expected one."""
    return float(torch.erf(torch.tensor(NORMAL / (2 * max(ratio, 1e-6)) ** 0.5)))


def _noisy_coverage(prior: Prior, parts: Sequence[Part], deviation: Tensor) -> float | None:
    """Share of held-out noisy elements within their 90 % intervals, by a conformal factor from every second of them.

    Estimated without themselves, they have larger errors by a factor, chosen so that one half of them holds 90 %.
    """
    misses, widths, noises, place = [], [], [], 0
    for part in parts:
        own = deviation[place : place + part.y.numel()].reshape(part.y.shape)
        place += part.y.numel()
        misses.append((_blind(partial(prior.of_part, levels=part.sigma), part) - part.y)[part.hidden])
        widths.append(own[part.hidden])
        noises.append(part.sigma[part.hidden])
    miss, width, noise = torch.cat(misses), torch.cat(widths), torch.cat(noises)
    if len(miss) < 4 * HELD_OUT:
        return None
    half = torch.arange(len(miss)) % 2 == 0
    needed = ((miss / NORMAL).square() - noise.square()).clamp(min=0).sqrt() / width.clamp(min=1e-8)
    factor = needed[half].quantile(COVERAGE)
    inside = miss.abs() <= NORMAL * ((factor * width).square() + noise.square()).sqrt()
    return float(inside[~half].float().mean())
