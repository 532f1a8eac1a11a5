"""Checks of the Host and Origin headers against DNS rebinding and cross-site requests.

DNS rebinding: a page on any site can make its own name point to 127.0.0.1. It then calls a service there as its own
origin. The Host header reveals this. Cross-site requests: a page can send a form or a bare POST to the service's own
name. Origin and Sec-Fetch-Site reveal this. Neither attack needs a cookie or a key.
"""

import ipaddress
import re
from collections.abc import Collection

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from costcurve.core.errors import ApiError, CrossSiteRequest, MalformedRequest, MisdirectedRequest
from costcurve.core.text import printable, shortened
from service.problems import render

# Machines request these by the IP of a pod or container; DNS rebinding needs a name, so an IP is safe here.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})
_AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s:@/\[\]]+)(:(?P<port>[0-9]*))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """ASGI middleware that refuses other hosts, and changes from other sites' pages."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None, origins: Collection[str] = ()) -> None:
        """Set the hosts to serve, and the origins of other sites that may make changes.

        Args:
            app: the application.
            hosts: names and addresses in lower case, without ports; None for all hosts.
            origins: as CORS admits them, in lower case: scheme, host, and the port unless it is the scheme's.
        """
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (error := self._error_of(scope)) is not None:
            await render(Request(scope), error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _error_of(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        given = headers.getlist("host")
        if len(given) > 1 or (not given and scope["http_version"] not in {"1.0", "2", "3"}):
            return MalformedRequest(f"the request has {len(given)} Host headers; send exactly one")
        host = given[0] if given else ""
        if not self._is_ours(scope["path"], host):
            ours = ", ".join(sorted(self._hosts or ()))
            return MisdirectedRequest(
                f"the host is {_shown(host) or 'missing'}; allowed: {ours}. The setting COSTCURVE_ALLOWED_HOSTS lists "
                "the allowed hosts"
            )
        if scope["method"] in _CHANGES_NOTHING or self._is_admitted(headers):
            return None
        return _cross_site_error(headers, host)

    def _is_admitted(self, headers: Headers) -> bool:
        return [origin.strip().lower() in self._origins for origin in headers.getlist("origin")] == [True]

    def _is_ours(self, path: str, host: str) -> bool:
        if self._hosts is None:
            return True
        name = _name_of(host)
        return name in self._hosts or (path in PROBES and (not host or _is_address(name)))


def _cross_site_error(headers: Headers, host: str) -> ApiError | None:
    """Return the error for a change from another site's page, or None.

    None means that the request comes from a page of this service or from a program.
    """
    advice = "only pages of this service and programs other than browsers may make changes"
    if headers.get("sec-fetch-site", "").strip().lower() == "cross-site":
        return CrossSiteRequest(f"Sec-Fetch-Site is cross-site; {advice}")
    for origin in headers.getlist("origin"):
        scheme, _, authority = origin.strip().lower().partition("://")
        port = _DEFAULT_PORTS.get(scheme)
        if port is None or _with_port(authority, port) != _with_port(host.lower(), port):
            return CrossSiteRequest(f"Origin is {_shown(origin)}, and Host is {_shown(host)}; {advice}")
    return None


def _with_port(authority: str, default: int) -> str:
    found = _AUTHORITY.fullmatch(authority)
    return authority if found is None else f"{found['name']}:{found['port'] or default}"


def _name_of(host: str) -> str:
    """Return the name or address of a Host header, "" if it is invalid.

    It is in lower case, without port and final dot.
    """
    found = _AUTHORITY.fullmatch(host.strip().lower())
    return found["name"].removesuffix(".") if found is not None else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _shown(text: str) -> str:
    return shortened(printable(text), 100)
