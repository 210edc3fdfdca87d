"""The application: a route for each function, those of other servers, the page, and what keeps a server healthy."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException

from vqfusion import __version__
from vqfusion.errors import UserError
from vqfusion.modalities import MODALITIES
from vqfusion.web.body import read_body, wanted
from vqfusion.web.functions import Function, functions
from vqfusion.web.guard import Guard
from vqfusion.web.media import media_type
from vqfusion.web.openai import router
from vqfusion.web.page import docs_page, function_page, static
from vqfusion.web.refusal import FAULT, Refusal, refusal_of
from vqfusion.web.service import Service

ANSWER = {
    "type": "object",
    "description": "task, options, model, seed, nfe, seconds, warnings, and items: for each input its outputs (files "
    "in base64), texts or distribution, with sigma, coverage, lower and upper where a prior restored it",
}
ERRORS = {
    400: "the body cannot be read",
    401: "no token",
    404: "no such model",
    413: "over a limit of this server",
    422: "an input or option is wrong",
    429: "too many requests are waiting",
    504: "over the time of a request",
}


def application(
    service: Service, hosts: tuple[str, ...] | None = None, token: str | None = None, log: bool = True
) -> Guard:
    """The whole application, to be served.

    Args:
        service: Its parts.
        hosts: Names under which it may be called; None allows all.
        token: What clients must show; None needs none.
        log: Whether a line is written for every answer.

    Returns:
        The ASGI application.
    """

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.jobs.close()

    app = FastAPI(
        title="vqfusion",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=living,
        description="Every task as a function.",
    )
    app.state.service = service
    app.state.began = time.time()
    for kind in (Refusal, UserError, Exception, HTTPException):
        app.add_exception_handler(kind, _refused)
    for function in functions().values():
        _add(app, function)
    app.include_router(router)
    _add_others(app)
    return Guard(app, service.bounds, service.metrics, hosts, token, log)


def _add(app: FastAPI, function: Function) -> None:
    """Add the route of a function."""

    async def endpoint(request: Request) -> Response:
        service = request.app.state.service
        return await service.answer(request, wanted(function, await read_body(request, service.bounds)))

    schema = function.schema()
    form = {
        "response_format": {
            "enum": ["json", "file"],
            "default": "json",
            "description": "file: the one result as it is",
        },
        "stream": {"type": "boolean", "default": False, "description": "events with the progress, then the result"},
        "preview": {"type": "boolean", "default": False, "description": "HTML that shows inputs and results"},
    }
    schema = {**schema, "properties": {**schema["properties"], **form}}
    content = {kind: {"schema": schema} for kind in ("multipart/form-data", "application/json")}
    app.add_api_route(
        f"/v1/{function.name}",
        endpoint,
        methods=["POST"],
        summary=function.about,
        operation_id=function.name,
        tags=["tasks"],
        response_class=JSONResponse,
        responses={
            200: {"description": "the answer", "content": {"application/json": {"schema": ANSWER}}},
            **{status: {"description": text} for status, text in ERRORS.items()},
        },
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )


def _add_others(app: FastAPI) -> None:
    """Add the page, the table of functions, the end of a job, health and numbers."""

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(function_page())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page())

    @app.get("/static/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        found = static(name)
        if found is None:
            raise Refusal(404, "there is no such page")
        return Response(found[0], media_type=found[1], headers={"Cache-Control": "no-cache"})

    @app.get("/v1/functions", tags=["server"], summary="The table of functions, with their schemas")
    async def table(request: Request) -> dict[str, Any]:
        kinds = {
            name: {"suffixes": row.suffixes, "plural": row.plural, "pictured": row.pictured, "heard": row.heard}
            | {"in_words": row.in_words, "rank": row.rank}
            for name, row in MODALITIES.items()
        }
        return {"functions": [one.said() for one in functions().values()], "modalities": kinds}

    @app.get("/v1/trainings", tags=["server"], summary="The trainings that this server shows")
    def trainings(request: Request) -> dict[str, Any]:
        return {"trainings": request.app.state.service.shown.trainings()}

    @app.get("/v1/trainings/{name}", tags=["server"], summary="A training of the list, with its curves as HTML")
    def training(request: Request, name: str) -> dict[str, Any]:
        found: dict[str, Any] = request.app.state.service.shown.training(name)
        return found

    @app.get("/v1/opened", include_in_schema=False)
    async def opened(request: Request) -> dict[str, Any]:
        return {"files": [path.name for path in request.app.state.service.shown.files]}

    @app.get("/v1/opened/{number}", include_in_schema=False)
    def opened_file(request: Request, number: int) -> Response:
        name, data = request.app.state.service.shown.content(number)
        return Response(data, media_type=media_type(name), headers={"Cache-Control": "no-store"})

    @app.delete("/v1/jobs/{job}", tags=["server"], summary="End a job, by the name in its first event")
    async def end(request: Request, job: str) -> dict[str, bool]:
        if not request.app.state.service.jobs.stop(job):
            raise Refusal(404, "there is no such job, or it has ended")
        return {"stopped": True}

    @app.get("/health", tags=["server"], summary="Whether this server takes work")
    async def health(request: Request) -> JSONResponse:
        service = request.app.state.service
        state = "draining" if service.jobs.draining else "ok"
        about = {"status": state, "version": __version__, "waiting": service.jobs.waiting()}
        return JSONResponse(about, 200 if state == "ok" else 503)

    @app.get("/metrics", tags=["server"], summary="Numbers in the format of Prometheus")
    async def metrics(request: Request) -> Response:
        return Response(request.app.state.service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _refused(request: Request, error: Exception) -> Response:
    """Whatever went wrong, in one line and one shape; `Guard` logs what is a fault of ours."""
    refusal, headers = refusal_of(error), dict[str, str]()
    if isinstance(error, HTTPException):
        said = {404: "there is nothing at this address; /docs lists what there is", 405: "not this method; see /docs"}
        refusal = Refusal(error.status_code, said.get(error.status_code, str(error.detail)))
        headers |= error.headers or {}
    refusal = refusal or FAULT
    return JSONResponse(refusal.body, refusal.status, refusal.headers | headers)
