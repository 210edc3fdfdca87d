"""A server as its parts: models, queue, limits, numbers; and the way of every request through them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from vqfusion.web.asked import Asked
from vqfusion.web.body import Wanted
from vqfusion.web.bounds import Bounds
from vqfusion.web.jobs import Job, Jobs
from vqfusion.web.metrics import Metrics
from vqfusion.web.refusal import FAULT, Refusal, refusal_of
from vqfusion.web.shelf import Shelf
from vqfusion.web.shown import Shown

LISTENS_S = 0.5  # how often it is looked whether the client is still there


@dataclass(frozen=True)
class Service:
    """Parts of a server."""

    shelf: Shelf
    jobs: Jobs
    bounds: Bounds
    metrics: Metrics
    shown: Shown = Shown()

    @classmethod
    def of(
        cls, models: list[str], device: str | None, bounds: Bounds, workers: int, shown: Shown | None = None
    ) -> "Service":
        """The parts, from what is said on the command line."""
        shown = shown or Shown()
        shown.check(bounds)
        shelf = Shelf(models, device, bounds.memory)
        metrics = Metrics(shelf.resident)
        return cls(shelf, Jobs(bounds, workers, metrics), bounds, metrics, shown)

    def submit(self, asked: Asked, suffix: str = "") -> Job:
        """Put a request in the queue."""

        def work() -> Any:
            from vqfusion.web.ask import ask

            return ask(asked, self.shelf, self.bounds, suffix)

        return self.jobs.submit(work)

    async def run(self, request: Request, work: Callable[[], Any] | Asked, suffix: str = "") -> Any:
        """Result of a request; its work ends where the client goes away meanwhile."""
        job = self.submit(work, suffix) if isinstance(work, Asked) else self.jobs.submit(work)
        request.scope["vqfusion"] = {"job": job.id[:6]}
        result = asyncio.ensure_future(self.jobs.result(job))
        try:
            while not result.done():
                await asyncio.wait([result], timeout=LISTENS_S)
                if not result.done() and await request.is_disconnected():
                    job.stop()
            return await result
        finally:
            result.cancel()

    async def answer(self, request: Request, wanted: Wanted) -> Response:
        """Answer to a request for a function: JSON, a file, or events."""
        if wanted.stream:
            job = self.submit(wanted.asked)
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            return StreamingResponse(self._events(job), media_type="text/event-stream", headers=headers)
        done = await self.run(request, wanted.asked)
        if not wanted.as_file:
            return JSONResponse(done.as_json)
        if len(done.files) != 1:
            raise Refusal(422, f"response_format file takes one result, and there are {len(done.files)}; use json")
        (file,) = done.files
        headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
        return Response(file.data, media_type=file.media_type, headers=headers)

    async def _events(self, job: Job) -> AsyncIterator[str]:
        """Events of a job: `queued`, `progress` as often as there is any, and `result` or `error`."""
        yield _event("queued", {"job": job.id, "waiting": max(0, self.jobs.waiting() - 1)})
        async for fraction in self.jobs.progress(job):
            yield ": still here\n\n" if fraction is None else _event("progress", {"fraction": round(fraction, 4)})
        try:
            if job.stopped and job.began_at is None:
                raise Refusal(499, "cancelled")
            done = await self.jobs.result(job)
            yield _event("result", done.as_json)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                yield _event("error", FAULT.body)
                raise
            yield _event("error", refusal.body)


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
