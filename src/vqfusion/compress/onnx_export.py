"""Export of priors to ONNX, with what a program without torch needs to tile a signal of any size."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vqfusion.errors import UserError, needs_extra
from vqfusion.files import new_file, write_bytes
from vqfusion.models.restoration.prior import Prior

MODEL, RUNNER = "prior.onnx", "run.py"
PARITY = 1e-4  # largest difference from torch, in the units of the data
AXES = ("depth", "height", "width")


@dataclass(frozen=True)
class Exported:
    """An exported prior; also its metadata, as strings under the same names.

    Attributes:
        modality: Modality of the data.
        channels: Channels of the data.
        value_range: Range of the data.
        sigma_range: Noise levels that the prior was trained for.
        multiple: Every axis of the input is a multiple of this, and every tile starts at one.
        tile_margin: Margin of tiles with which they give the result of the whole; a multiple of `multiple`.
        grey: Whether grey may be given as equal channels.
    """

    modality: str
    channels: int
    value_range: tuple[float, float]
    sigma_range: tuple[float, float]
    multiple: int
    tile_margin: int
    grey: bool


class _Denoising(nn.Module):
    """`Prior.denoise` for sizes that are multiples, with a level for each value; 0 is unknown."""

    def __init__(self, prior: Prior):
        super().__init__()
        self.network = prior.network
        self.middle = sum(prior.config.value_range) / 2
        self.least = prior.sigma_range[0]

    def forward(self, x: Float[Tensor, "B C ..."], sigma: Float[Tensor, "B C ..."]) -> Float[Tensor, "B C ..."]:
        level = torch.where(sigma > 0, sigma.clamp(min=self.least), 0.0)
        return x - self.network(x - self.middle, level)


def export_prior(prior: Prior, folder: Path, overwrite: bool = False) -> tuple[Exported, float]:
    """Write `prior.onnx` and `run.py`, a program that uses it without torch.

    The model has the inputs `x` and `sigma`, both `[B, C, *size]`, where `sigma` is the noise level of each value and 0
    means unknown, and the output `clean`. All axes but the channels are of any length, those of the signal multiples
    of `multiple`. Missing values, which `Prior.denoise` takes as a level of inf, are not part of it.

    Args:
        prior: The prior.
        folder: Folder for the two files.
        overwrite: Replace files that are there.

    Returns:
        What the metadata say, and the largest difference from torch on random signals of two sizes.

    Raises:
        UserError: The packages of the extra `export` are missing, a file is there already, or the exported model does
            not give what the prior gives.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  the exporter of torch needs it
    except ImportError as error:
        raise needs_extra(error.name or "onnx", "export", "export") from None
    config, multiple = prior.config, prior.multiple
    margin = -(-prior.network.receptive_radius // multiple) * multiple
    about = Exported(
        config.modality,
        config.channels,
        config.value_range,
        config.sigma_range,
        multiple,
        margin,
        "grey" in config.learned,
    )
    paths = [folder / name for name in (MODEL, RUNNER)]
    for path in paths:
        if path.exists() and not overwrite:
            raise UserError(f"{path}: exists already; choose another folder or --force")
    module = _Denoising(prior).eval()
    example = torch.rand(2, config.channels, *[2 * multiple] * config.rank)
    batch, axes = torch.export.Dim("batch"), [torch.export.Dim(f"{name}_blocks") for name in AXES[-config.rank :]]
    shape = {0: batch} | {2 + i: multiple * axis for i, axis in enumerate(axes)}
    with new_file(paths[0], overwrite) as part:
        with warnings.catch_warnings(), _silent("torch.onnx"):
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                module,
                (example, torch.full_like(example, 0.1)),
                dynamo=True,
                verbose=False,
                input_names=["x", "sigma"],
                output_names=["clean"],
                dynamic_shapes=(shape, shape),
            )
        assert program is not None
        model = program.model_proto
        onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in asdict(about).items()})
        part.write_bytes(model.SerializeToString())
        session = onnxruntime.InferenceSession(part.read_bytes(), providers=["CPUExecutionProvider"])
        difference = max(_difference(module, session, about, config.rank, blocks) for blocks in (1, 5))
        if not difference <= PARITY:
            raise UserError(f"the exported model differs from the prior by {difference:.2g}; nothing was written")
    write_bytes(paths[1], (Path(__file__).parent / "onnx_runner.py").read_bytes(), overwrite)
    return about, difference


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Context in which a logger tells errors only: the exporter looks for packages that it does not need."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@torch.no_grad()
def _difference(module: nn.Module, session: object, about: Exported, rank: int, blocks: int) -> float:
    """Largest difference between the two on a random signal with a random map of levels, some unknown."""
    generator, size = torch.Generator().manual_seed(blocks), [blocks * about.multiple] * rank
    x, level = (torch.rand(1, about.channels, *size, generator=generator) for _ in range(2))
    level = torch.where(level < 0.2, 0.0, 0.3 * level)
    [made] = session.run(None, {"x": x.numpy(), "sigma": level.numpy()})  # type: ignore[attr-defined]
    return float((torch.from_numpy(made) - module(x, level)).abs().max())
