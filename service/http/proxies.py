"""Addresses of clients behind proxies, taken from X-Forwarded-For and X-Forwarded-Proto of trusted proxies only."""

import ipaddress
from collections.abc import Collection
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

# Key in the scope: True if the request came directly from a trusted proxy.
_PROXIED = "costcurve.proxied"


class TrustedProxies:
    """ASGI middleware that sets the client's address and scheme of a request.

    They are those of the connection, unless a trusted proxy forwards the request. Then they are those that the proxy
    names. The same headers of any other client are ignored.
    """

    def __init__(self, app: ASGIApp, proxies: Collection[str]) -> None:
        """Set the proxies to trust: IP addresses and networks."""
        self._app = ProxyHeadersMiddleware(cast("object", app), trusted_hosts=list(proxies))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            host, port = scope["client"]
            scope["client"] = (_plain(host), port)
            scope[_PROXIED] = scope["client"][0] in self._app.trusted_hosts
        await self._app(scope, receive, send)  # type: ignore[arg-type]


def address_of(scope: Scope) -> str:
    """Return the IP address of the request's client, "" if the connection has none."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_exposed(scope: Scope) -> bool:
    """Return True if the request came over a network without TLS, and not from a trusted proxy."""
    if scope["scheme"] == "https" or scope.get(_PROXIED, False):
        return False
    try:
        return not ipaddress.ip_address(address_of(scope)).is_loopback
    except ValueError:  # a Unix socket
        return False


def _plain(host: str) -> str:
    """Return an IPv4 address that a socket for both families shows as IPv6 in its usual form."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return host if mapped is None else str(mapped)
