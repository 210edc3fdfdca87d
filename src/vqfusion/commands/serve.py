"""`serve`, `open` and `mcp`: the tasks as a service, on a page, and as tools of an agent."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from vqfusion.commands.options import Device
from vqfusion.errors import needs_extra

Models = Annotated[
    list[str], typer.Option("--model", help="a further model, as folder or name=folder; repeat for more")
]
Limits = Annotated[
    list[str], typer.Option("--limit", help="a limit, such as pixels=100M or queue=8; see docs/server.md")
]
Runs = Annotated[Path | None, typer.Option("--runs", help="folder of trainings that the page shows")]
MEMORY = "VQFUSION_MAX_MEMORY"


def serve(
    host: Annotated[str, typer.Option(help="address; another than this machine's own needs a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 takes a free one")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="VQFUSION_TOKEN", help="what clients must show; default: made where needed")
    ] = None,
    model: Models = [],  # noqa: B006
    runs: Runs = None,
    limit: Limits = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=1, max=64, help="requests that are computed at once")] = 1,
    device: Device = None,
    open: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no line of log for every answer")] = False,
) -> None:
    """Serve every task over HTTP, and a page where files are dropped, until Ctrl-C or SIGTERM."""
    values = {"host": host, "port": port, "token": token, "models": model, "device": device, "workers": workers}
    _run("vqfusion serve", limit, runs, [], values | {"open": open, "log": not quiet})


def open_page(
    files: Annotated[list[Path], typer.Argument(help="files that are on the page already", show_default=False)] = [],  # noqa: B006
    model: Models = [],  # noqa: B006
    runs: Annotated[
        Path | None, typer.Option("--runs", help="folder of trainings that the page shows; default: runs, if there")
    ] = None,
    limit: Limits = [],  # noqa: B006
    device: Device = None,
) -> None:
    """Open the page in a browser, where files are dropped and trainings watched, until Ctrl-C."""
    from vqfusion.commands.runs import RUNS

    shown = runs or (RUNS if RUNS.is_dir() else None)
    values = {"port": 0, "models": model, "device": device, "open": True, "log": False}
    _run("vqfusion open", limit, shown, files, values)


def _run(command: str, limit: list[str], runs: Path | None, files: list[Path], values: dict[str, Any]) -> None:
    """Serve with these limits, trainings, files and fields of `Listening`."""
    from vqfusion.web.bounds import Bounds

    bounds = Bounds.parsed(limit)
    _bound_memory()
    try:
        from vqfusion.web.server import Listening
        from vqfusion.web.server import serve as run
        from vqfusion.web.shown import Shown
    except ModuleNotFoundError as error:
        raise needs_extra(error.name or "fastapi", "web", command) from None
    run(Listening(bounds=bounds, shown=Shown(runs, tuple(files)), **values))


def mcp(model: Models = [], limit: Limits = [], device: Device = None) -> None:  # noqa: B006
    """Offer every task as a tool of an agent, by the Model Context Protocol on standard input and output."""
    from vqfusion.web.bounds import Bounds

    bounds = Bounds.parsed(limit)
    _bound_memory()
    try:
        from vqfusion.web.mcp import serve_tools
    except ModuleNotFoundError as error:
        raise needs_extra(error.name or "mcp", "mcp", "vqfusion mcp") from None
    serve_tools(model, device, bounds)


def _bound_memory() -> None:
    """Bound the memory of one request where the user set no bound."""
    os.environ.setdefault(MEMORY, "4G")
