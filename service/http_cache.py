"""ETags, conditional requests and an LRU cache of rendered plots."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated

from cachetools import LRUCache, cached
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
    """LRU cache of rendered plots, up to `max_bytes` in total. A larger plot is not kept.

    If several requests ask for the same plot at once, one of them draws it and the others wait. If its drawing fails,
    another of them draws.
    """

    def __init__(self, max_bytes: int) -> None:
        self._pictures: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._changed = threading.Condition()
        self._get = cached(self._pictures, key=lambda key, _draw: key, condition=self._changed)(_drawn)

    def known(self, key: str) -> bytes | None:
        """Return the plot with this key, or None if it is not cached."""
        with self._changed:
            return self._pictures.get(key)

    def get(self, key: str, draw: Callable[[], bytes]) -> bytes:
        """Return the plot with this key; draw it if it is not cached.

        The key must contain everything that determines the plot.
        """
        return self._get(key, draw)

    @property
    def keys(self) -> Sequence[str]:
        """Keys of the cached plots."""
        with self._changed:
            return list(self._pictures)


def _drawn(_key: str, draw: Callable[[], bytes]) -> bytes:
    return draw()
