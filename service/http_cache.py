"""What need not be sent, read or drawn again: tags of what is answered, and a cache of pictures."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from importlib.metadata import version
from typing import Annotated

from fastapi import Header
from starlette.responses import Response

# Each line of the header.
IfNoneMatch = Annotated[list[str] | None, Header()]

_PROGRAM = version("costcurve")
# A browser or a proxy asks each time whether what it has still holds; answers belong to one client.
CACHE_CONTROL = "private, no-cache"


def etag_of(*parts: object) -> str:
    """Return the ETag of a response that these decide; another version of this program may respond otherwise.

    It is weak: what is read after the parts were may be newer than they are.
    """
    return f'W/"{hashlib.sha256(repr((_PROGRAM, *parts)).encode()).hexdigest()[:32]}"'


def lists_tag(lines: Sequence[str], etag: str) -> bool:
    """Return True if the lines of If-Match or If-None-Match name this ETag, weak or strong, or are `*`."""
    given = {tag.strip().removeprefix("W/") for line in lines for tag in line.split(",")}
    return bool(given & {etag.removeprefix("W/"), "*"})


def is_known(etag: str, if_none_match: Sequence[str] | None) -> bool:
    """Return True if the client has what has this ETag (RFC 9110, 13.1.2)."""
    return lists_tag(if_none_match or (), etag)


def unchanged(etag: str) -> Response:
    """304: the client has it."""
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": CACHE_CONTROL})


class Pictures:
    """An LRU cache of pictures, up to `max_bytes`. Of requests that come at once for one picture, one draws it."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._pictures: OrderedDict[str, bytes] = OrderedDict()
        self._drawing: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()

    def known(self, key: str) -> bytes | None:
        """Return the picture with this key if it is in the cache."""
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
            return self._pictures.get(key)

    def get(self, key: str, draw: Callable[[], bytes]) -> bytes:
        """Return the picture with this key, which says all that decides it; draw it if it is not in the cache."""
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
            # What kept the other from drawing it, such as a client that went, is no reason to give up here.
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
        """What is there, the longest unused first."""
        with self._lock:
            return list(self._pictures)
