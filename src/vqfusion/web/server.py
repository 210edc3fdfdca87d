"""Runs the application: listens, ends slow talkers, drains on SIGTERM, warms the models up."""

import asyncio
import contextlib
import secrets
import signal
import socket
import webbrowser
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vqfusion.errors import UserError
from vqfusion.web.app import application
from vqfusion.web.bounds import Bounds
from vqfusion.web.service import Service
from vqfusion.web.shown import Shown

HEAD_S = 20  # seconds in which the head of a request must have arrived
OWN_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Listening:
    """Where and how a server listens, and with which models.

    Attributes:
        host: Address; others than those of this machine alone need a token.
        port: Port; 0 takes a free one.
        token: What clients must show; None: nothing on this machine, a new one elsewhere.
        models: Further models, see `Shelf`.
        shown: Trainings and files that the page shows.
        device: Device of the models.
        workers: Requests that are computed at once.
        bounds: The limits.
        open: Whether the page is opened in a browser.
        log: Whether a line is written for every answer.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    models: list[str] = field(default_factory=list)
    shown: Shown = Shown()
    device: str | None = None
    workers: int = 1
    bounds: Bounds = Bounds()
    open: bool = False
    log: bool = True


def serve(listening: Listening) -> None:
    """Serve until SIGTERM or SIGINT: then no request is taken any more, and those that wait are answered.

    Raises:
        UserError: The address cannot be listened at, or a model is not found.
    """
    own = is_own(listening.host)
    token = listening.token or (None if own else secrets.token_urlsafe(24))
    service = Service.of(listening.models, listening.device, listening.bounds, listening.workers, listening.shown)
    app = application(service, OWN_NAMES if own else None, token, listening.log)
    place = bound(listening.host, listening.port)
    port = place.getsockname()[1]
    shown = f"[{listening.host}]" if ":" in listening.host else listening.host
    address = f"http://{shown}:{port}/" + (f"#token={token}" if token else "")
    config = uvicorn.Config(
        app,
        http=Protocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="on",
        backlog=256,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=listening.bounds.time * 2,
    )
    server = Server(config, service, address, listening.open)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again when it is done
        signal.signal(number, lambda *_: None)
    with place:
        server.run(sockets=[place])


def is_own(host: str) -> bool:
    """Whether only programs of this machine reach this address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; UserError where it cannot."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        place = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise UserError(f"--host {host!r} is no address of this machine ({error.strerror}); try 127.0.0.1") from None
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        place.bind((host, port))
    except (OSError, OverflowError) as error:
        place.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot listen at {host}:{port} ({reason}); choose another --port") from None
    return place


class Server(uvicorn.Server):
    """A server that says where it is, loads models while nobody waits, and takes no new work when it is told to end.

    Args:
        config: Configuration.
        service: Parts of the application.
        address: Address of the page.
        opens: Whether to open the page in a browser.
    """

    def __init__(self, config: uvicorn.Config, service: Service, address: str, opens: bool):
        super().__init__(config)
        self.service, self.address, self.opens = service, address, opens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self.address, flush=True)
        self._warm = asyncio.ensure_future(asyncio.to_thread(self._load))
        if self.opens:
            webbrowser.open(self.address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.jobs.draining = True
        await super().shutdown(sockets)
        await self._warm

    def _load(self) -> None:
        """Load the models that fit, so that the first client need not wait."""
        import vqfusion.web.ask  # noqa: F401

        shelf = self.service.shelf
        for name in shelf.folders:
            if self.should_exit or shelf.resident() + shelf.bytes_of(name) > shelf.memory:
                return
            with contextlib.suppress(UserError):  # whoever asks for it is told
                shelf.get(name)


class Protocol(H11Protocol):
    """HTTP whose clients must begin to talk soon: the head of the first request comes within `HEAD_S`."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEAD_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()
