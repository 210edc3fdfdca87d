"""Gaussian diffusion: paths, schedules, samplers, guidance and likelihood of continuous data."""

from typing import Any

from vqfusion.deprecated import old_name


def __getattr__(name: str) -> Any:
    return old_name(__name__, name)
