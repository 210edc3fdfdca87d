"""The door: who may ask, from where, how much may be sent and how slowly; and one line of log for every answer."""

import asyncio
import hmac
import json
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vqfusion.web.bounds import Bounds
from vqfusion.web.metrics import Metrics
from vqfusion.web.refusal import FAULT, Refusal, refusal_of

OPEN = ("/", "/health", "/docs", "/openapi.json", "/favicon.ico")  # without a token: nothing that is anybody's
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        b"media-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        b"frame-ancestors 'none'",
    ),
]


@dataclass
class Guard:
    """Middleware around the whole application.

    Attributes:
        app: The application.
        bounds: The limits.
        metrics: Where answers are counted.
        hosts: Names under which this server may be called; None allows all.
        token: What a client must show; None needs none.
        log: Whether a line is written for every answer.
    """

    app: ASGIApp
    bounds: Bounds
    metrics: Metrics
    hosts: tuple[str, ...] | None = None
    token: str | None = None
    log: bool = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answer = time.perf_counter(), _Answer(send)
        body = _Body(receive, self.bounds)
        try:
            self._admit(scope)
            await self.app(scope, body.receive, answer.send)
        except Exception as error:
            refusal = refusal_of(error)
            if refusal is None:
                refusal = FAULT
                self._say({"fault": type(error).__name__, "message": str(error)[:400], "at": _places(error)})
            if not answer.status:
                response = JSONResponse(refusal.body, refusal.status, refusal.headers)
                await response(scope, receive, answer.send)
        finally:
            if "vqfusion.form" in scope:
                await scope["vqfusion.form"].close()
            route = getattr(scope.get("route"), "path", None) or "none"
            status = answer.status or 499
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.received.inc(body.count)
            if self.log:
                about = {"method": scope["method"], "route": route, "status": status, "bytes": body.count}
                about |= {"seconds": round(time.perf_counter() - began, 3), **scope.get("vqfusion", {})}
                self._say(about)

    def _admit(self, scope: Scope) -> None:
        """Raise Refusal where the request may not come in."""
        headers = Headers(scope=scope)
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if self.hosts is not None and host not in self.hosts:
            raise Refusal(403, "this server answers to its own name only")  # other names may be rebound to it
        origin = headers.get("origin")
        if origin and urlsplit(origin).netloc != headers.get("host"):
            raise Refusal(403, "pages of other sites may not use this server")
        path = scope["path"]
        if self.token is not None and not (path in OPEN or path.startswith("/static/")):
            shown = headers.get("authorization", "").removeprefix("Bearer ").encode()
            if not hmac.compare_digest(shown, self.token.encode()):
                raise Refusal(401, "show the token of this server: Authorization: Bearer ...")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self.bounds.bytes:
            raise Refusal(413, f"over {self.bounds.bytes:,} bytes, the most of this server; send less")

    @staticmethod
    def _say(about: dict[str, object]) -> None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(json.dumps({"time": moment, **about}, ensure_ascii=True), file=sys.stderr, flush=True)


@dataclass
class _Answer:
    """Sends an answer, with the headers of every answer, and remembers its status."""

    forward: Send
    status: int = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
        await self.forward(message)


@dataclass
class _Body:
    """Receives the body of a request, which must be small and quick enough."""

    forward: Receive
    bounds: Bounds
    count: int = 0
    whole: bool = False
    began: float = field(default_factory=time.perf_counter)

    async def receive(self) -> Message:
        if self.whole:
            return await self.forward()
        left = self.bounds.upload - (time.perf_counter() - self.began)
        try:
            async with asyncio.timeout(max(0.0, left)):
                message = await self.forward()
        except TimeoutError:
            raise Refusal(408, f"the request took over {self.bounds.upload} s to arrive; send it faster") from None
        if message["type"] == "http.request":
            self.count += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.count > self.bounds.bytes:
                raise Refusal(413, f"over {self.bounds.bytes:,} bytes, the most of this server; send less")
        else:
            self.whole = True
        return message


def _places(error: BaseException) -> list[str]:
    """Where an error was raised: the last lines of its traceback, for the log."""
    import traceback

    return [f"{one.filename.rsplit('/', 1)[-1]}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)][-6:]
