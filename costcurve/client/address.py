"""Address of a service: validated, and printed without its credentials."""

import base64
import os
from typing import Self

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
_MASK = "***"


class Address:
    """HTTP address of a service, with its credentials kept apart.

    `shown` is safe to print. Requests go to `url`; `credentials` go into a header of their own.
    """

    def __init__(self, given: str) -> None:
        """Check and split the address that the caller gave.

        Raises:
            TypeError: the address is not text.
            ValueError: the address is not an HTTP URL.
        """
        if not isinstance(given, str):
            raise TypeError(f"url must be text such as {DEFAULT_URL!r}, not {type(given).__name__}")
        parsed = _parsed(given)
        self.given = given
        self.url = str(parsed.copy_with(userinfo=b"")).rstrip("/")
        self.shown = masked(str(parsed)).rstrip("/")
        self.credentials = parsed.userinfo

    @classmethod
    def found(cls, url: str | None) -> Self:
        """Return the address in `url`, in COSTCURVE_URL, or of this machine.

        The first that is not empty counts. Raises the errors of the constructor.
        """
        if url is None or url == "":
            url = os.environ.get("COSTCURVE_URL") or DEFAULT_URL
        return cls(url)

    @property
    def headers(self) -> dict[str, str]:
        """Authorization header for the credentials; empty without credentials."""
        if not self.credentials:
            return {}
        parsed = httpx.URL(self.given)
        pair = f"{parsed.username}:{parsed.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def masked(url: str) -> str:
    """Return the text of a URL with possible secrets masked by asterisks.

    The text does not have to be a valid URL.
    """
    before, at, rest = url.rpartition("@")  # first, because a password may contain the other separators
    end = min((found for sign in "?#" if (found := rest.find(sign)) >= 0), default=len(rest))
    shown = rest if end == len(rest) else f"{rest[: end + 1]}{_MASK}"
    if not at:
        return shown
    scheme, separator, _ = before.partition("://")
    return f"{scheme}://{_MASK}@{shown}" if separator else f"{_MASK}@{shown}"


def _parsed(given: str) -> httpx.URL:
    shown = masked(given)
    try:
        parsed = httpx.URL(given)
    except (httpx.InvalidURL, UnicodeError) as error:
        if shown != given:  # the parser's reason may quote part of the secret
            raise ValueError(f"{shown!r} is not a URL") from None
        raise ValueError(f"{shown!r} is not a URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or (parsed.port or 0) > 65535:
        raise ValueError(f"{shown!r} is not an HTTP address such as {DEFAULT_URL}")
    if parsed.query or parsed.fragment:
        raise ValueError(f"{shown!r} is not the address of a service: it has a query or a fragment")
    return parsed
