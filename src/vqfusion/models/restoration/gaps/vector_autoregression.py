"""A Gaussian vector autoregression: the exact distribution of missing values given the known ones."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import cho_solve_banded, cholesky_banded, solve_banded

from vqfusion.limits import MEMORY

LARGEST_ROOT = 0.9995  # of the companion matrix, so that a stationary distribution exists
RIDGE = 1e-9  # relative, keeps matrices of nearly deterministic series invertible
DOUBLINGS = 60

Series = Float[np.ndarray, "T C"]


@dataclass(frozen=True)
class VectorAutoregression:
    """z_t = sum_k A_k z_(t-k) + e_t, with e_t normal of covariance `noise`, in its stationary distribution.

    Attributes:
        coefficients: A_k `[p, C, C]`, that of lag 1 first; made stationary where they are not.
        noise: Covariance of e_t `[C, C]`.
    """

    coefficients: Float[np.ndarray, "p C C"]
    noise: Float[np.ndarray, "C C"]

    @property
    def order(self) -> int:
        """Number of lags."""
        return len(self.coefficients)

    @cached_property
    def companion(self) -> Float[np.ndarray, "N N"]:
        """Matrix that maps (z_(t-1), ..., z_(t-p)) to (z_t, ..., z_(t-p+1)), with roots of at most `LARGEST_ROOT`."""
        p, channels = self.coefficients.shape[:2]
        matrix = np.eye(p * channels, k=-channels)
        matrix[:channels] = self.coefficients.transpose(1, 0, 2).reshape(channels, -1)
        largest = float(np.abs(np.linalg.eigvals(matrix)).max())
        if largest > LARGEST_ROOT:
            shrink = (LARGEST_ROOT / largest) ** np.arange(1, p + 1)
            matrix[:channels] *= np.repeat(shrink, channels)
        return matrix

    @cached_property
    def stationary(self) -> Float[np.ndarray, "N N"]:
        """Covariance of p values in order of time: X = F X F' + Q by doubling (Anderson, Moore, 1979, section 6.7)."""
        channels, step = len(self.noise), self.companion
        total = np.zeros_like(step)
        total[:channels, :channels] = self.noise
        for _ in range(DOUBLINGS):
            more = step @ total @ step.T
            total = total + more
            step = step @ step
            if np.abs(more).max() <= 1e-13 * np.abs(total).max():
                break
        in_time = np.arange(len(total)).reshape(self.order, channels)[::-1].ravel()
        return total[np.ix_(in_time, in_time)]

    @cached_property
    def _start(self) -> Float[np.ndarray, "N N"]:
        """Precision of the first p values."""
        covariance = self.stationary
        ridge = RIDGE * np.trace(covariance) / len(covariance)
        return np.linalg.inv(covariance + ridge * np.eye(len(covariance)))

    @cached_property
    def _errors(self) -> Float[np.ndarray, "q C C"]:
        """B_k with e_t = sum_k B_k z_(t-k), k from 0 to p."""
        p, channels = self.coefficients.shape[:2]
        rows = self.companion[:channels].reshape(channels, p, channels).transpose(1, 0, 2)
        return np.concatenate([np.eye(channels)[None], -rows])

    @cached_property
    def _sums(self) -> Float[np.ndarray, "q n C C"]:
        """Sums over j < n of B_j' P B_(j+lag), by lag and n: blocks of the precision matrix of a series."""
        q, channels = self._errors.shape[:2]
        weighed = np.linalg.inv(self.noise) @ self._errors
        products = np.einsum("jab,kac->jkbc", self._errors, weighed, optimize=True)
        sums = np.zeros((q, q + 1, channels, channels))
        for lag in range(q):
            sums[lag, 1 : q + 1 - lag] = np.cumsum(products[np.arange(q - lag), np.arange(lag, q)], axis=0)
            sums[lag, q + 1 - lag :] = sums[lag, q - lag]
        return sums

    def given(self, z: Series, seen: Bool[np.ndarray, "T C"]) -> "Conditional":
        """Distribution of the values of `z` that are not `seen` given those that are.

        The precision matrix of missing values is banded: two values are linked where they are at most p steps apart
        (Rue, Held, 2005, section 2.4). Costs grow with the number of missing values and the square of how many of
        them lie within p steps.

        Args:
            z: Series of at least p values; values that are not seen are ignored.
            seen: True at known values.

        Returns:
            The distribution.
        """
        p, (length, _) = self.order, z.shape
        times, channels = np.nonzero(~seen)
        if not len(times):
            return Conditional(times, channels, np.zeros(0), np.ones((1, 0)))
        band = self._band(times, channels, length)
        x, errors = np.where(seen, z, 0.0), np.zeros_like(z)
        for k, block in enumerate(self._errors):
            errors[p:] += x[p - k : length - k] @ block.T
        errors, pull = errors @ np.linalg.inv(self.noise), np.zeros_like(z)
        for k, block in enumerate(self._errors):
            pull[p - k : length - k] += errors[p:] @ block
        pull[:p] += (self._start @ x[:p].ravel()).reshape(p, -1)
        factor = cholesky_banded(band, lower=True)
        mean = cho_solve_banded((factor, True), -pull[times, channels])
        return Conditional(times, channels, mean, factor)

    def _band(self, times: np.ndarray, channels: np.ndarray, length: int) -> Float[np.ndarray, "w n"]:
        """Lower band of the precision matrix of the missing values, in order of time."""
        p, count, width = self.order, len(times), self._sums.shape[-1]
        rows = int((np.searchsorted(times, times + p, side="right") - np.arange(count)).max())
        MEMORY.require(24 * rows * count, f"{count} missing values, {rows} of them within {p} steps")
        band = np.zeros((rows, count))
        inside = self._sums[np.arange(p + 1), p + 1 - np.arange(p + 1)].ravel()  # where all errors are in the series
        reach = np.searchsorted(times, times + p, side="right")
        for below in range(rows):
            first = np.flatnonzero(reach - np.arange(count) > below)
            lag, one, other = times[first + below] - times[first], channels[first + below], channels[first]
            band[below, first] = inside.take((lag * width + one) * width + other)
            late = times[first + below]
            edge = np.flatnonzero((late < p) | (late >= length - p))
            lag, one, other, late = lag[edge], one[edge], other[edge], late[edge]
            most = np.minimum(p - lag, length - 1 - late) + 1
            least = np.minimum(np.maximum(p - late, 0), most)
            values = self._sums[lag, most, one, other] - self._sums[lag, least, one, other]
            early = np.flatnonzero(late < p)
            rows_of, columns = late[early] * width + one[early], (late - lag)[early] * width + other[early]
            values[early] += self._start[rows_of, columns]
            band[below, first[edge]] = values
        band[0] *= 1 + RIDGE
        return band


@dataclass(frozen=True)
class Conditional:
    """Normal distribution of missing values, in order of time.

    Attributes:
        times: Time of each.
        channels: Channel of each.
        mean: Means.
        factor: Lower band of the Cholesky factor L of the precision matrix L L'.
    """

    times: np.ndarray
    channels: np.ndarray
    mean: Float[np.ndarray, " n"]
    factor: Float[np.ndarray, "w n"]

    @cached_property
    def deviation(self) -> Float[np.ndarray, " n"]:
        """Standard deviations, by the recursion of Takahashi (1973) within the band."""
        width, count = self.factor.shape[0] - 1, len(self.mean)
        variance, near = np.zeros(count), np.zeros((width, width))  # covariance of the next values
        for i in range(count - 1, -1, -1):
            column = self.factor[1:, i] / self.factor[0, i]
            shared = -near @ column
            variance[i] = 1 / self.factor[0, i] ** 2 - column @ shared
            if width:
                moved = np.empty_like(near)
                moved[1:, 1:] = near[:-1, :-1]
                moved[0, 0] = variance[i]
                moved[0, 1:] = moved[1:, 0] = shared[:-1]
                near = moved
        return np.sqrt(variance)

    def draw(self, count: int, generator: np.random.Generator) -> Float[np.ndarray, "count n"]:
        """Samples, all values jointly."""
        if not len(self.mean):
            return np.zeros((count, 0))
        normal, upper = generator.standard_normal((count, len(self.mean))).T, np.zeros_like(self.factor)
        for row, values in enumerate(self.factor):
            upper[len(upper) - 1 - row, row:] = values[: len(values) - row]
        return self.mean + solve_banded((0, len(upper) - 1), upper, normal).T
