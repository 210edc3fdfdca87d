"""The command-line application: one command for each task, and those that train, evaluate, serve and manage models."""

from collections.abc import Callable
from typing import Annotated

import typer

from vqfusion.commands.codec import decode, encode
from vqfusion.commands.compress import compress
from vqfusion.commands.data import data_app
from vqfusion.commands.demo import demo
from vqfusion.commands.explain import explain
from vqfusion.commands.export import export
from vqfusion.commands.inspect import inspect
from vqfusion.commands.look import doctor
from vqfusion.commands.measure import evaluate
from vqfusion.commands.models import models
from vqfusion.commands.runs import runs
from vqfusion.commands.serve import mcp, open_page, serve
from vqfusion.commands.train.train import train
from vqfusion.commands.verbs import add_verbs

app = typer.Typer(
    name="vqfusion",
    help="Codes for any signal, and one model for every task over them.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_verbs(app)
OTHER_VERBS: dict[str, Callable[..., None]] = {
    "encode": encode,
    "decode": decode,
    "demo": demo,
    "train": train,
    "runs": runs,
    "inspect": inspect,
    "explain": explain,
    "compress": compress,
    "export": export,
    "eval": evaluate,
    "open": open_page,
    "serve": serve,
    "mcp": mcp,
    "doctor": doctor,
}
for name, verb in OTHER_VERBS.items():
    app.command(name, rich_help_panel="Models and data")(verb)
app.add_typer(models, name="models", rich_help_panel="Models and data")
app.add_typer(data_app, name="data", rich_help_panel="Models and data")


def _version(wanted: bool) -> bool:
    if wanted:
        from vqfusion import __version__

        print(__version__)
        raise typer.Exit()
    return wanted


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="version")] = False,
) -> None:
    pass
