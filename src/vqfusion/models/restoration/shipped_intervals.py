"""Calibrations of intervals that ship with a prior, with their measured coverage."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from vqfusion.diffusion.operators import Operator
from vqfusion.diffusion.operators.noise_models import GaussianNoise
from vqfusion.files import write_bytes
from vqfusion.models.restoration.intervals import EVERYTHING, Calibration
from vqfusion.models.restoration.prior import Prior


@dataclass(frozen=True)
class ShippedIntervals:
    """A calibration with its coverage by group, measured on other data than it was fitted to.

    Attributes:
        calibration: The calibration.
        measured: Measured coverage by group.
        measured_on: Description of those data.
    """

    calibration: Calibration
    measured: dict[str, float]
    measured_on: str

    def group(self, channels: int) -> str:
        """Group of signals with this number of channels: `grey` or `colour` where they were calibrated separately."""
        name = "grey" if channels == 1 else "colour"
        return name if name in self.calibration.scales else EVERYTHING

    def save(self, folder: Path, kind: str) -> None:
        """Write to the folder of the prior, for operators of a kind."""
        content = asdict(self.calibration) | {"measured": self.measured, "measured_on": self.measured_on}
        content["weights"] = weights_hash(folder)
        text = json.dumps(content, default=list)
        write_bytes(path_of(folder, kind, self.calibration.coverage), (text + "\n").encode())


def path_of(folder: Path, kind: str, coverage: float) -> Path:
    """File of a calibration, such as `intervals-denoise-0.9.json`."""
    return folder / f"intervals-{kind}-{coverage:g}.json"


def weights_hash(folder: Path) -> str:
    """Hash of the weights of a prior."""
    return hashlib.sha256((folder / "prior.safetensors").read_bytes()).hexdigest()[:16]


def shipped_intervals(prior: Prior, operator: Operator, coverage: float) -> ShippedIntervals | None:
    """Calibration that ships with the prior for Gaussian noise, this operator and coverage.

    None where there is none, or it belongs to other weights.
    """
    if prior.folder is None or not isinstance(operator.noise, GaussianNoise):
        return None
    path = path_of(prior.folder, operator.kind, coverage)
    if not path.is_file():
        return None
    calibration = Calibration.load(path)
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored.get("weights") != weights_hash(prior.folder):
        return None
    return ShippedIntervals(calibration, stored.get("measured", {}), str(stored.get("measured_on", "")))
