"""`serve` and `mcp`: the tasks as a service, for browsers and programs, and as tools of an agent."""

import os
from typing import Annotated

import typer

from vqfusion.commands.options import Device
from vqfusion.errors import needs_extra

Models = Annotated[
    list[str], typer.Option("--model", help="a further model, as folder or name=folder; repeat for more")
]
Limits = Annotated[
    list[str], typer.Option("--limit", help="a limit, such as pixels=100M or queue=8; see docs/server.md")
]
MEMORY = "VQFUSION_MAX_MEMORY"


def serve(
    host: Annotated[str, typer.Option(help="address; another than this machine's own needs a token")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="port; 0 takes a free one")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="VQFUSION_TOKEN", help="what clients must show; default: made where needed")
    ] = None,
    model: Models = [],  # noqa: B006
    limit: Limits = [],  # noqa: B006
    workers: Annotated[int, typer.Option(min=1, max=64, help="requests that are computed at once")] = 1,
    device: Device = None,
    open: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no line of log for every answer")] = False,
) -> None:
    """Serve every task over HTTP, and a page where files are dropped, until Ctrl-C or SIGTERM."""
    from vqfusion.web.bounds import Bounds

    bounds = Bounds.parsed(limit)
    _bound_memory()
    try:
        from vqfusion.web.server import Listening
        from vqfusion.web.server import serve as run
    except ModuleNotFoundError as error:
        raise needs_extra(error.name or "fastapi", "web", "vqfusion serve") from None
    run(
        Listening(
            host=host,
            port=port,
            token=token,
            models=model,
            device=device,
            workers=workers,
            bounds=bounds,
            open=open,
            log=not quiet,
        )
    )


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
