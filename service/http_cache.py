"""ETags, conditional requests and an LRU cache of rendered plots."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.metadata import version
from typing import Annotated

from fastapi import Header
from starlette.responses import Response

# One item per line of the header.
IfNoneMatch = Annotated[list[str] | None, Header()]

_PROGRAM = version("costcurve")


def etag_of(*parts: object) -> str:
    """Return the weak ETag of a response that depends on these parts.

    The program's version is part of it, as another version may respond differently. The ETag is weak because the
    response may contain data that is newer than the parts.
    """
    return f'W/"{hashlib.sha256(repr((_PROGRAM, *parts)).encode()).hexdigest()[:32]}"'


def lists_tag(lines: Sequence[str], etag: str) -> bool:
    """Return True if If-Match or If-None-Match names this ETag or is `*`.

    `lines` are the lines of the header. Weak and strong ETags are equal here.
    """
    given = {tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")}
    return bool(given & {etag.removeprefix("W/"), "*"})


def conditional(etag: str, if_none_match: Sequence[str] | None, respond: Callable[[], Response]) -> Response:
    """Return the response with its ETag, or 304 if If-None-Match contains the ETag (RFC 9110, 13.1.2).

    For a 304, `respond` is not called.
    """
    response = Response(status_code=304) if lists_tag(if_none_match or (), etag) else respond()
    response.headers["ETag"] = etag
    return response


class Pictures:
    """LRU cache of rendered plots, up to `max_bytes` in total.

    If several requests ask for the same plot at once, one of them draws it and the others wait.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._drawing: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()

    def known(self, key: str) -> bytes | None:
        """Return the plot with this key, or None if it is not cached."""
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
            return self._pictures.get(key)

    def get(self, key: str, draw: Callable[[], bytes]) -> bytes:
        """Return the plot with this key; draw it if it is not cached.

        The key must contain everything that determines the plot.
        """
        while True:
            with self._lock:
                if key in self._pictures:
                    self._pictures.move_to_end(key)
                    return self._pictures[key]
                drawn = self._drawing.get(key)
                if drawn is None:
                    mine = self._drawing[key] = Future()
            if drawn is None:
                return self._draw(key, draw, mine)
            # The other request's failure, such as its client's disconnect, is no reason to give up here.
            if drawn.exception() is None:
                return drawn.result()

    def _draw(self, key: str, draw: Callable[[], bytes], drawn: Future[bytes]) -> bytes:
        try:
            picture = draw()
            self._keep(key, picture)
        except BaseException as error:
            drawn.set_exception(error)
            raise
        else:
            drawn.set_result(picture)
        finally:
            with self._lock:
                del self._drawing[key]
        return picture

    def _keep(self, key: str, picture: bytes) -> None:
        with self._lock:
            self._bytes += len(picture) - len(self._pictures.pop(key, b""))
            self._pictures[key] = picture
            while self._bytes > self._max_bytes:
                _, oldest = self._pictures.popitem(last=False)
                self._bytes -= len(oldest)

    @property
    def keys(self) -> Sequence[str]:
        """Keys of the cached plots, the least recently used first."""
        with self._lock:
            return list(self._pictures)
