"""Gaps of series: joint distributions of all channels, fitted to the table itself."""

from vqfusion.lazy import public

__getattr__, __dir__, __all__ = public(
    __name__,
    filling="Filled fill_table",
    series="FilledSeries fill_series",
    vector_autoregression="VectorAutoregression",
)
