"""Fit of a vector autoregression to series with gaps."""

import numpy as np
from jaxtyping import Bool, Float

from vqfusion.models.restoration.gaps.vector_autoregression import Series, VectorAutoregression

MOST_LAGS = 25  # a day of hours and one more
MOST_STATES = 400  # largest product of lags and channels
CROSS_LAGS, CROSS_CHANNELS = 2, 10  # of the other channels
ROWS_PER_LAG, ROWS_PER_TERM = 12, 8
ROUNDS, AVERAGED = 5, 2  # rounds in all, and the first of them that counts in the mean of the moments
DRAWN = 6_000  # rows of samples a round
OWN, CROSS = 0.5, 0.2  # deviation of a coefficient of lag 1 before anything is seen
LEAST_NOISE = 1e-6


def fit_autoregression(
    z: Series, seen: Bool[np.ndarray, "T C"], generator: np.random.Generator, rounds: int = ROUNDS
) -> VectorAutoregression:
    """Most probable autoregression by stochastic approximation EM (Delyon, Lavielle, Moulines, 1999).

    Each round draws the missing values from the model of the last one and averages the moments. A channel depends on
    its own past of up to 25 steps and on two steps of the channels with the largest correlation. The prior of the
    coefficients is that of Litterman (1986): deviations that fall as one over the lag, smaller for other channels.

    Args:
        z: Series with mean about 0 and deviation about 1.
        seen: True at known values.
        generator: Random generator.
        rounds: Rounds of EM.

    Returns:
        The model.
    """
    length, channels = z.shape
    rows = int(np.median(seen.sum(0)))
    lags = int(np.clip(min(rows // ROWS_PER_LAG, MOST_STATES // channels, length // 2), 1, MOST_LAGS))
    draws = int(np.clip(DRAWN // length, 1, 16))
    filled = interpolated(z, seen)
    moments = _moments(filled[None], lags)
    chosen = _regressors(moments[:channels, :channels], lags, max(0, rows // ROWS_PER_TERM - lags))
    model = _regression(moments, chosen, lags, length)
    if seen.all():
        return model
    for i in range(rounds):
        missing = model.given(z, seen)
        drawn = np.repeat(np.where(seen, z, 0.0)[None], draws, axis=0)
        drawn[:, missing.times, missing.channels] = missing.draw(draws, generator)
        share = 1 / max(1, i + 2 - AVERAGED)
        moments = (1 - share) * moments + share * _moments(drawn, lags)
        model = _regression(moments, chosen, lags, length)
    return model


def interpolated(z: Series, seen: Bool[np.ndarray, "T C"]) -> Series:
    """Straight lines in the gaps, and the first and last known value beyond them; 0 in channels without any."""
    places, made = np.arange(len(z)), np.zeros_like(z)
    for channel, there in enumerate(seen.T):
        if there.any():
            made[:, channel] = np.interp(places, places[there], z[there, channel])
    return made


def _moments(z: Float[np.ndarray, "K T C"], lags: int) -> Float[np.ndarray, "N N"]:
    """Mean products of (z_t, z_(t-1), ..., z_(t-lags)), over times and samples."""
    length = z.shape[1]
    total = 0.0
    for one in z:
        rows = np.concatenate([one[lags - k : length - k] for k in range(lags + 1)], axis=1)
        total = total + rows.T @ rows
    return np.asarray(total) / (len(z) * (length - lags))


def _regressors(now: Float[np.ndarray, "C C"], lags: int, room: int) -> list[np.ndarray]:
    """Places in the moments of the regressors of each channel: its own lags, and a few of the nearest channels."""
    channels = len(now)
    spread = np.sqrt(np.diag(now)) + 1e-12
    likeness = np.abs(now / spread / spread[:, None])
    np.fill_diagonal(likeness, -1.0)
    cross = min(CROSS_LAGS, lags)
    count = min(channels - 1, CROSS_CHANNELS, room // cross)
    chosen = []
    for channel in range(channels):
        own = channel + channels * np.arange(1, lags + 1)
        others = np.argsort(-likeness[channel], kind="stable")[:count]
        chosen.append(np.concatenate([own, (others + channels * np.arange(1, cross + 1)[:, None]).ravel()]))
    return chosen


def _regression(
    moments: Float[np.ndarray, "N N"], chosen: list[np.ndarray], lags: int, rows: int
) -> VectorAutoregression:
    """Coefficients with the largest posterior density given the moments, and the covariance of the errors."""
    channels = len(chosen)
    errors = np.zeros((channels, len(moments)))
    for channel, places in enumerate(chosen):
        power, right = moments[np.ix_(places, places)], moments[places, channel]
        lag = places // channels
        scale = np.where(places % channels == channel, OWN, CROSS)
        least = LEAST_NOISE + 1e-8 * moments[channel, channel]
        first = np.linalg.solve(power + least * np.eye(len(places)), right)
        noise = max(float(moments[channel, channel] - first @ right), least)
        a = np.linalg.solve(power + np.diag(noise / rows * (lag / scale) ** 2), right)
        errors[channel, channel], errors[channel, places] = 1.0, -a
    noise_covariance = errors @ moments @ errors.T
    noise_covariance = (noise_covariance + noise_covariance.T) / 2 + LEAST_NOISE * np.eye(channels)
    coefficients = -errors[:, channels:].reshape(channels, lags, channels).transpose(1, 0, 2)
    return VectorAutoregression(np.ascontiguousarray(coefficients), noise_covariance)
