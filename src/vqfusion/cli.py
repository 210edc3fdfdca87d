"""Entry point of the command, with one guard around everything including imports.

User errors end in one line on standard error and exit code 2, Ctrl-C in 130; an internal error ends in 70 (EX_SOFTWARE
of sysexits.h) and a saved report.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vqfusion.commands.say import say

FAULT = 70
COMPLETE = "_VQFUSION_COMPLETE"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments` (by default those of the process) and return its exit code."""
    # waiting threads sleep instead of spinning, which beside other work takes the time of those that have work to do;
    # read by the OpenMP library of torch when it is loaded (docs/speed.md)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _say("this needs more memory than there is; give smaller inputs or fewer at once", 2)
    except OSError as error:
        return _say(f"{error.filename or 'standard output'}: {error.strerror or error}", 2)
    except Exception as error:  # a fault of ours: nobody is shown a traceback, and nobody loses it
        return _fault(error)


def _run(arguments: Sequence[str] | None) -> int:
    """The command itself, with its imports inside the guard."""
    import io

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale, no character stops a result
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")

    import typer

    from vqfusion.commands.app import app
    from vqfusion.errors import UserError

    given = list(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(app)
    if COMPLETE in os.environ:  # the shell asks what may come next: answers, and exits
        command.main(prog_name="vqfusion")
    try:
        with _notes(), command.make_context("vqfusion", given or ["--help"]) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        return _say("interrupted", 130)
    except typer.TyperException as mistake:
        return _say(mistake.format_message() + _dashes(given), 2)
    except UserError as mistake:
        return _say(str(mistake), 2)
    except RuntimeError as error:
        if "allocate memory" in str(error) or "out of memory" in str(error):  # as torch says it
            raise MemoryError from None
        raise


@contextmanager
def _notes() -> Iterator[None]:
    """Context that prints every `Note` as one line on standard error; other warnings are shown as usual."""
    import warnings

    from vqfusion.errors import Note

    with warnings.catch_warnings():
        warnings.simplefilter("always", Note)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, Note):
                _say(str(message), 0)
            else:
                shown(message, category, *rest)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _dashes(given: Sequence[str]) -> str:
    """Hint how to pass a text or a file name that starts like an option, where one may be meant."""
    if files := [one for one in given if one.startswith("-") and os.path.exists(one)]:
        return f'; a file whose name begins with "-" is given as ./{files[0]}'
    odd = [one for one in given if one.startswith("-") and (" " in one or one[1:2].isdigit())]
    if not odd or "--" in given:
        return ""
    return f'; a text that begins with "-" is given after "--" and all options: ... -- "{odd[0]}"'


def _say(message: str, code: int) -> int:
    """Print one line on standard error; returns the exit code of the command."""
    say(message)
    return code


def _fault(error: Exception) -> int:
    """Save a report of an internal error and print where it is."""
    import platform
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    about = f"vqfusion on Python {platform.python_version()}, {platform.platform()}\narguments: {sys.argv[1:]!r}\n\n"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="vqfusion-fault-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as report:
            report.write(about + text)
        where = f"what is needed to mend it is in {report.name}"
    except OSError:
        where = "no report could be saved"
    return _say(f"a fault of vqfusion, not yours ({type(error).__name__}: {str(error)[:200]}); {where}", FAULT)
