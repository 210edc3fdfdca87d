"""Posterior sampling of signals given a measurement, with a prior and an operator."""

from typing import Any

from vqfusion.deprecated import old_name


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
