"""The address of a service: checked, and shown without its credentials."""

import base64
import os
from typing import Self

import httpx

DEFAULT_URL = "http://127.0.0.1:8000"
_MASK = "***"


class Address:
    """An HTTP address. `shown` is safe to print; requests go to `url`, with `credentials` in a header of their own."""

    def __init__(self, given: str) -> None:
        """Check the address.

        Raises:
            TypeError: it is not text.
            ValueError: it is not an HTTP URL.
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
        """Return the address given; else that in COSTCURVE_URL; else this machine's. Raises as the constructor does."""
        if url is None or url == "":
            url = os.environ.get("COSTCURVE_URL") or DEFAULT_URL
        return cls(url)

    @property
    def headers(self) -> dict[str, str]:
        """The credentials as HTTP sends them; nothing if there are none."""
        if not self.credentials:
            return {}
        parsed = httpx.URL(self.given)
        pair = f"{parsed.username}:{parsed.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def masked(url: str) -> str:
    """Return the URL, or what was meant as one, with everything that may be a secret replaced by asterisks."""
    before, at, rest = url.rpartition("@")  # first, as a password may hold any of the other signs
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
        if shown != given:  # the reason may quote a part of the secret
            raise ValueError(f"{shown!r} is not a URL") from None
        raise ValueError(f"{shown!r} is not a URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or (parsed.port or 0) > 65535:
        raise ValueError(f"{shown!r} is not an HTTP address such as {DEFAULT_URL}")
    if parsed.query or parsed.fragment:
        raise ValueError(f"{shown!r} is not the address of a service: it has a query or a fragment")
    return parsed
