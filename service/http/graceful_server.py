"""HTTP server with bounded connections, a drain phase and an orderly shutdown."""

import asyncio
import logging
import os
import resource
import signal
import socket
import threading
from time import monotonic
from types import FrameType

import uvicorn
from fastapi import FastAPI

from costcurve.runtime.settings import Settings
from service.http.protocol import BoundedProtocol, BoundedState, Limits

log = logging.getLogger(__name__)

# Descriptors for everything except clients: the database's connections, the log, the event loop.
_OWN_DESCRIPTORS = 64
_TICKS_A_SECOND = 10
# Seconds that running requests have to end at shutdown, and seconds after which the process exits in any case.
_GRACE_SECONDS = 3
_LAST_SECONDS = 8.0


class Server(uvicorn.Server):
    """HTTP server that drains after SIGTERM before it shuts down.

    After SIGTERM, /readyz returns 503 for `drain_seconds`, so that load balancers stop sending traffic. Other endpoints
    keep working. Ctrl-C or a second SIGTERM stops the server at once.
    """

    def __init__(self, config: uvicorn.Config, *, app: FastAPI, drain_seconds: float, limits: Limits) -> None:
        super().__init__(config)
        self._bounded = BoundedState(limits)
        self.server_state = self._bounded
        self._app = app
        self._drain_seconds = drain_seconds
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGTERM and self._stop_at is None and self._drain_seconds and not self.should_exit:
            self._app.state.draining = True
            self._stop_at = monotonic() + self._drain_seconds
            return
        super().handle_exit(sig, frame)
        # uvicorn would raise the signal again at its end, and kill the program before it has closed its database.
        self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A thread that waits for a hanging database can be neither interrupted nor left behind.
        last = threading.Timer(_LAST_SECONDS, _give_up)
        last.daemon = True
        last.start()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None and monotonic() >= self._stop_at:
            self.should_exit = True
        if counter % _TICKS_A_SECOND == 0:
            self._bounded.check(asyncio.get_running_loop().time())
        return await super().on_tick(counter)


def _give_up() -> None:
    log.error("some requests did not end within %g s of the shutdown; the service exits without them", _LAST_SECONDS)
    logging.shutdown()
    os._exit(1)


def configured(app: FastAPI, limits: Limits, *, host: str, port: int) -> uvicorn.Config:
    """Return uvicorn's configuration of the service."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        # The event loop accepts up to this number of connections in one go, before it serves any of them.
        backlog=max(limits.connections // 4, 4),
        timeout_graceful_shutdown=_GRACE_SECONDS,
        access_log=False,
        proxy_headers=False,  # TrustedProxies reads them
        log_config=None,
    )


def limits_of(settings: Settings) -> Limits:
    """Return the limits on connections, reduced to the available file descriptors."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A quarter more connections are accepted before others are closed to make room.
    room = max(8, (descriptors - _OWN_DESCRIPTORS) * 3 // 4)
    return Limits(
        connections=min(settings.max_connections, room),
        head_seconds=settings.head_seconds,
        stall_seconds=settings.stall_seconds,
        bytes_per_second=settings.min_bytes_per_second,
    )
