"""Options that several commands share."""

from dataclasses import dataclass
from typing import Annotated

import typer

from vqfusion.limits import SAMPLES, STEPS


def output_option(what: str) -> typer.models.OptionInfo:
    """Option `--output`/`-o` with the help text `what`."""
    return typer.Option("--output", "-o", help=what)


Output = Annotated[str | None, output_option("file, or folder for several inputs")]
Model = Annotated[str, typer.Option(help="name in the zoo, folder, zip, or owner/name on the hub")]
FittingModel = Annotated[
    str | None, typer.Option(help="name, folder, zip or owner/name; default: the prior for such inputs")
]
CodecModel = Annotated[
    str | None, typer.Option(help="name, folder or owner/name; default: photo-codec for pictures, else emoji")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, mps; default: the fastest there is")]
Seed = Annotated[int, typer.Option(min=0, help="same seed, same result")]
Steps = Annotated[int | None, typer.Option(min=1, help="sampling steps; default: the model's")]
Samples = Annotated[int, typer.Option(min=1, help="how many results per input")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object and nothing else")]
Force = Annotated[bool, typer.Option("--force", help="overwrite existing files")]


@dataclass(frozen=True)
class Request:
    """Options of every task; `model` None is chosen by the inputs."""

    output: Output = None
    model: FittingModel = None
    device: Device = None
    seed: Seed = 0
    steps: Steps = None
    samples: Samples = 1
    json: Json = False
    force: Force = False

    def __post_init__(self) -> None:
        SAMPLES.require(self.samples, "--samples")
        STEPS.require(self.steps or 0, "--steps")
