"""uvicorn's HTTP protocol with deadlines and bounds, so that clients cannot block connections.

A client owes the server the head of a request, then its body, then the reading of the response. A client that does
not deliver is disconnected; a slow but steady one is served. See docs/decisions/0006-deadlines-of-connections.md.
"""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Literal

from uvicorn import Config
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from costcurve.core.errors import ApiError, HeadTooLarge, Overloaded, RequestTooSlow
from service.problems import MEDIA_TYPE, problem_of

MAX_HEAD_BYTES = 64 << 10
# Pipelined requests that may wait for the responses to earlier ones.
_MOST_PIPELINED = 16
# Bytes of a response that are passed on at once; the next piece follows after these have left.
_PIECE_BYTES = 64 << 10
# Bytes of a response that the kernel buffers for one client.
_KERNEL_BYTES = 256 << 10
# If a client still sends when the response is complete, read and drop its data up to these limits. If the connection
# were closed at once, it would be reset, and the client might never see the response.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1 << 20

_Debt = Literal["head", "body", "reading"]
_Send = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on connections.

    Attributes:
        connections: most open connections.
        head_seconds: from the first byte of a request, or from the connection, to the end of its headers.
        stall_seconds: period in which a body, or the reading of a response, must average `bytes_per_second`.
        bytes_per_second: the slowest client that is served.
    """

    connections: int
    head_seconds: float
    stall_seconds: float
    bytes_per_second: float


class BoundedState(ServerState):
    """uvicorn's state of all connections, with their limits."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits

    def admit(self, newcomer: "BoundedProtocol") -> bool:
        """Return True if there is room for a new connection.

        If the limit is reached, abort the connection whose client has been in debt longest.
        """
        others = [each for each in self._bounded() if each is not newcomer and not each.is_aborted]
        if len(others) < self.limits.connections:
            return True
        indebted = [each for each in others if each.debt is not None]
        if indebted:
            min(indebted, key=lambda each: each.indebted_since).abort()
        return bool(indebted)

    def check(self, now: float) -> None:
        """Close the connections whose clients have not delivered in time."""
        for each in self._bounded():
            each.check(now)

    def _bounded(self) -> Iterable["BoundedProtocol"]:
        return [each for each in self.connections if isinstance(each, BoundedProtocol)]


class BoundedProtocol(HttpToolsProtocol):
    """One connection with deadlines for heads, bodies and the reading of responses."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        if not isinstance(server_state, BoundedState):
            raise TypeError("the server has no limits")
        self._state = server_state
        self._limits = server_state.limits
        self._running: RequestResponseCycle | None = None
        # Head of the next request: whether any of it has arrived, since when it is owed, and its size so far.
        self._head_begun = False
        self._in_head = True
        self._head_since = self.loop.time()
        self._head_bytes = 0
        # Body or reading: the kind of debt, its start, and the bytes delivered by then.
        self._owed: _Debt | None = None
        self._owed_since = self._head_since
        self._delivered_then = 0
        self._received = self.written = 0
        self._dropped: int | None = None
        self._refusal: ApiError | None = None
        self.is_aborted = False

    @property
    def debt(self) -> _Debt | None:
        """Part that the client owes now; None while the server owes a response."""
        if self.transport.get_write_buffer_size():
            return "reading"
        if self._running is None or self._running.response_complete:
            return "head"
        waits = self.flow.read_paused or self._running.waiting_for_100_continue
        return "body" if self._running.more_body and not waits else None

    @property
    def indebted_since(self) -> float:
        """Start of the current debt, in seconds of the loop's clock."""
        return self._head_since if self.debt == "head" else self._owed_since

    def check(self, now: float) -> None:
        """Close the connection if its client has not delivered in time.

        The server calls this about once a second.
        """
        owed = self.debt
        delivered = self._received if owed == "body" else self.written - self.transport.get_write_buffer_size()
        if owed != self._owed:
            self._owed, self._owed_since, self._delivered_then = owed, now, delivered
        if owed == "head" and now - self._head_since >= self._limits.head_seconds:
            if self._head_begun and not self.is_lingering:
                self._refuse(RequestTooSlow(f"the headers did not arrive within {self._limits.head_seconds:g} s"))
            else:
                self.transport.close()
        elif owed in ("body", "reading") and now - self._owed_since >= self._limits.stall_seconds:
            least = self._limits.stall_seconds * self._limits.bytes_per_second
            if delivered - self._delivered_then >= least:
                self._owed_since, self._delivered_then = now, delivered
            elif owed == "body" and self._running is not None and not self._running.response_started:
                rate = f"{self._limits.bytes_per_second:g} bytes a second"
                self._refuse(
                    RequestTooSlow(f"the body arrived at less than {rate} for {self._limits.stall_seconds:g} s")
                )
            else:
                self.abort()

    def abort(self) -> None:
        """Drop the connection at once, with all data that waits to be sent."""
        self.is_aborted = True
        self.transport.abort()

    # Methods of uvicorn's protocol.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_PIECE_BYTES)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BYTES)
        if not self._state.admit(self):
            count = self._limits.connections
            transport.write(_raw(Overloaded(f"{count} connections are open, and all are being served; try again")))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._running is not None and not self._running.response_complete:  # uvicorn notifies only the newest one
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        if self._dropped is not None:
            self._dropped += len(data)
            if self._dropped > _LINGER_BYTES:
                self._hang_up()
            return
        self._received += len(data)
        if not self._head_begun:
            self._head_begun, self._head_since = True, self.loop.time()
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_too_large())

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= _MOST_PIPELINED:
            raise ValueError(f"{_MOST_PIPELINED} pipelined requests wait for their responses already")
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._head_begun, self._head_since = False, self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        if self._running is not None and not self._running.response_complete:
            self.abort()  # a 400 would land in the middle of another response
        elif self._refusal is not None:
            self._refuse(self._refusal)
        else:
            super().send_400_response(msg)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        cycle.transport = _Wire(self, cycle)
        super()._start_asgi_task(cycle, partial(self._served, cycle, app))

    # Helpers.

    async def _served(self, cycle: RequestResponseCycle, app: Any, scope: Any, receive: Any, send: _Send) -> None:
        """Run the application and send its response in pieces of at most 64 KiB.

        The connection closes after a response that begins before the body has arrived in full.
        """

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start" and cycle.more_body:
                message = {**message, "headers": [*message.get("headers", ()), CLOSE_HEADER]}
            elif len(body := message.get("body", b"")) > _PIECE_BYTES:
                *first, last = range(0, len(body), _PIECE_BYTES)
                for start in first:
                    await send({**message, "body": body[start : start + _PIECE_BYTES], "more_body": True})
                message = {**message, "body": body[last:]}
            await send(message)

        await app(scope, receive, sent)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > 2 * MAX_HEAD_BYTES:  # counted once as bytes, and once as parsed fields
            self._refusal = _too_large()
            raise ValueError(self._refusal.detail)

    def _refuse(self, error: ApiError) -> None:
        """Send an error that the application does not see, then close."""
        self.transport.write(_raw(error))
        self.linger()

    def linger(self) -> None:
        """Close after the client has had time to read the response.

        Close earlier if the client closes first. Data that it still sends is dropped.
        """
        if self._dropped is None and not self.transport.is_closing():
            self._dropped = 0
            self.transport.write_eof()
            self.flow.resume_reading()
            self.loop.call_later(_LINGER_SECONDS, self._hang_up)

    @property
    def is_lingering(self) -> bool:
        return self._dropped is not None

    def _hang_up(self) -> None:
        self.transport.close()


class _Wire(asyncio.Transport):
    """Transport of one response that counts the bytes written.

    If the request's body is incomplete, it closes slowly enough for the client to read the response.
    """

    def __init__(self, protocol: BoundedProtocol, cycle: RequestResponseCycle) -> None:
        super().__init__()
        self._protocol = protocol
        self._cycle = cycle

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._protocol.written += len(data)
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.is_lingering or self._protocol.transport.is_closing()

    def close(self) -> None:
        if self._cycle.more_body and self._cycle.response_complete:
            self._protocol.linger()
        else:
            self._protocol.transport.close()


def _raw(error: ApiError) -> bytes:
    """Return the raw response to a request that never reaches the application."""
    body = json.dumps(problem_of(error, instance="").model_dump()).encode()
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close", **error.headers}
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", *map(": ".join, headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the request line and the headers have more than {MAX_HEAD_BYTES:,} bytes")
