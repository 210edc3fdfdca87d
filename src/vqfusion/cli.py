"""The command: a verb for each task, and the verbs that train, measure and look after models.

Mistakes of the user end in one line on standard error and exit code 2, Ctrl-C in 130.
"""

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from vqfusion.commands.codec import decode, encode
from vqfusion.commands.demo import demo
from vqfusion.commands.inspect import inspect
from vqfusion.commands.look import data, doctor
from vqfusion.commands.measure import evaluate
from vqfusion.commands.train.train import train
from vqfusion.commands.verbs import add_verbs
from vqfusion.errors import UserError

app = typer.Typer(
    name="vqfusion",
    help="Codes for any signal, and one model for every task over them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_verbs(app)
OTHER_VERBS: dict[str, Callable[..., None]] = {
    "encode": encode,
    "decode": decode,
    "demo": demo,
    "train": train,
    "inspect": inspect,
    "eval": evaluate,
    "data": data,
    "doctor": doctor,
}
for name, verb in OTHER_VERBS.items():
    app.command(name, rich_help_panel="Models and data")(verb)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (default: those of the process) and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale, no character stops a result
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        command = typer.main.get_command(app)
        given = list(sys.argv[1:] if arguments is None else arguments)
        with command.make_context("vqfusion", given or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _say("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except typer.TyperException as mistake:
        return _say(mistake.format_message(), 2)
    except UserError as mistake:
        return _say(str(mistake), 2)
    except OSError as error:
        return _say(f"{error.filename or 'standard output'}: {error.strerror or error}", 2)


def _say(message: str, code: int) -> int:
    """One line on standard error, whatever the message held."""
    print("vqfusion: " + " ".join(message.split()), file=sys.stderr)
    return code
