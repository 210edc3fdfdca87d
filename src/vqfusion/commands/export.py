"""`export`: a prior as an ONNX model, with a program that runs it without torch."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vqfusion.commands.options import Force, Json, output_option
from vqfusion.commands.say import say
from vqfusion.errors import UserError


def export(
    model: Annotated[str, typer.Argument(help="name in the zoo, folder, zip, or owner/name on the hub")] = "photo",
    output: Annotated[str | None, output_option("folder; default: <model>-onnx")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write a prior as ONNX, and a short program that restores files of any size with it and needs no torch."""
    folder = Path(output or f"{Path(model).name}-onnx")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; --output names a folder")
    from vqfusion.compress.onnx_export import MODEL, RUNNER, export_prior
    from vqfusion.hub import load
    from vqfusion.models.restoration.prior import Prior

    prior = load(model, "cpu")
    if not isinstance(prior, Prior):
        raise UserError(f"model {model!r} is no prior, and only priors are exported: photo, volume, sound or your own")
    about, difference = export_prior(prior, folder, force)
    paths = [str(folder / name) for name in (MODEL, RUNNER)]
    if as_json:
        print(json.dumps({"model": model, "outputs": paths, "difference_from_torch": difference} | asdict(about)))
        return
    for path in paths:
        print(path)
    say(f"tiles: margins of {about.tile_margin}, starts at multiples of {about.multiple}; as torch to {difference:.1g}")
