"""The functions as tools of an agent, by the Model Context Protocol on standard input and output.

As over HTTP, a tool takes contents, never the name of a file, and a model of this server, never another one.
"""

import asyncio
import sys
from typing import Any

import mcp_types as types
from mcp.server import Server
from mcp.server.stdio import stdio_server

from vqfusion import __version__
from vqfusion.web.body import Sent, wanted
from vqfusion.web.bounds import Bounds
from vqfusion.web.functions import functions
from vqfusion.web.refusal import one_line, refusal_of
from vqfusion.web.service import Service


def tools() -> list[types.Tool]:
    """One tool for each function."""
    return [types.Tool(name=one.name, description=one.about, input_schema=one.schema()) for one in functions().values()]


async def call(service: Service, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """Call a tool.

    Args:
        service: Models, queue and limits.
        name: Name of the function.
        arguments: Its input and options.

    Returns:
        Texts, pictures and sounds; for a mistake one line, marked as an error.
    """
    try:
        if name not in functions():
            return _failed(f"there is no tool {name[:60]!r}; the tools are {', '.join(functions())}")
        asked = wanted(functions()[name], Sent(list(arguments.items()))).asked
        done = await service.jobs.result(service.submit(asked))
    except Exception as error:
        refusal = refusal_of(error)
        if refusal is None:
            raise
        return _failed(refusal.message)
    content: list[Any] = []
    for item in done.items:
        about = {key: value for key, value in item.items() if key not in ("outputs", "lower", "upper")}
        content.append(types.TextContent(text=_said(about)))
        content += [_file(item[end]) for end in ("lower", "upper") if end in item]
        content += [_file(one) for one in item.get("outputs", ())]
    content += [types.TextContent(text=f"warning: {line}") for line in done.report["warnings"]]
    return types.CallToolResult(content=content)


def serve_tools(models: list[str], device: str | None, bounds: Bounds) -> None:
    """Serve until standard input ends.

    Args:
        models: Further models, see `Shelf`.
        device: Device of the models.
        bounds: The limits.
    """
    asyncio.run(_serve(Service.of(models, device, bounds, workers=1)))


async def _serve(service: Service) -> None:
    async def list_tools(context: Any, parameters: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=tools())

    async def call_tool(context: Any, parameters: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            return await call(service, parameters.name, dict(parameters.arguments or {}))
        except Exception as error:
            print(f"vqfusion: {type(error).__name__}: {one_line(str(error))}", file=sys.stderr, flush=True)
            return _failed("a fault of this server, not yours")

    server = Server(
        "vqfusion",
        version=__version__,
        instructions="Restores, describes, translates and draws pictures, sounds, texts, volumes and series. Files are "
        'given as {"base64": "...", "name": "photo.jpg"}.',
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    try:
        async with stdio_server() as (receives, sends):
            await server.run(receives, sends, server.create_initialization_options())
    finally:
        await service.jobs.close()


def _file(file: dict[str, str]) -> Any:
    """A file as content of a tool's result."""
    kind, data = file["media_type"], file["base64"]
    if kind in ("image/png", "image/jpeg", "image/webp"):
        return types.ImageContent(data=data, mime_type=kind)
    if kind.startswith("audio/"):
        return types.AudioContent(data=data, mime_type=kind)
    resource = types.BlobResourceContents(uri=f"vqfusion://{file['name']}", mime_type=kind, blob=data)
    return types.EmbeddedResource(resource=resource)


def _said(about: dict[str, Any]) -> str:
    """A row of an answer in words."""
    if "texts" in about:
        return "\n".join(about["texts"])
    if "distribution" in about:
        return "\n".join(f"{name}: {p:.3f}" for name, p in about["distribution"].items())
    return "; ".join(f"{key} {value}" for key, value in about.items() if value not in (None, [], ""))


def _failed(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=one_line(message))], is_error=True)
