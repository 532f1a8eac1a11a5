"""The HTTP server: it bounds its connections, can say that it is about to stop, and ends in order."""

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

# Descriptors for all but clients: the database's connections, the log, the event loop.
_OWN_DESCRIPTORS = 64
_TICKS_A_SECOND = 10
# Seconds that requests have to end when the service does, and after which it ends in any case.
_GRACE_SECONDS = 3
_LAST_SECONDS = 8.0


class Server(uvicorn.Server):
    """On SIGTERM `/readyz` answers 503 for a while, and all else as ever, so that load balancers send nobody here.

    Ctrl-C, or a second SIGTERM, ends it at once.
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
        # uvicorn would raise it once more when it is done, and the program would die of it before it has closed its
        # database.
        self._captured_signals.clear()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # A thread that waits for a database which never answers can be neither interrupted nor left behind.
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
    log.error("some requests did not end within %g s; the service ends without them", _LAST_SECONDS)
    logging.shutdown()
    os._exit(1)


def configured(app: FastAPI, limits: Limits, *, host: str, port: int) -> uvicorn.Config:
    """Uvicorn's configuration of the service."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        # As many connections are accepted in one go, before any of them is looked at.
        backlog=max(limits.connections // 4, 4),
        timeout_graceful_shutdown=_GRACE_SECONDS,
        access_log=False,
        log_config=None,
    )


def limits_of(settings: Settings) -> Limits:
    """The bounds on connections; of those, no more than there are descriptors for."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A quarter more are accepted before some are closed to make room.
    room = max(8, (descriptors - _OWN_DESCRIPTORS) * 3 // 4)
    return Limits(
        connections=min(settings.max_connections, room),
        head_seconds=settings.head_seconds,
        stall_seconds=settings.stall_seconds,
        bytes_per_second=settings.min_bytes_per_second,
    )
