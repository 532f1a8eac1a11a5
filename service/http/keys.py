"""Keys of clients: who a request's caller is, what it may do, and how often."""

import logging
from collections.abc import Callable
from time import monotonic

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from costcurve.core import access
from costcurve.core.access import LOCAL, Caller
from costcurve.core.errors import ApiError, InsufficientScope, StoreUnavailable
from service.http.metrics_port import METRICS
from service.http.operations import Rule
from service.http.proxies import address_of, is_exposed
from service.key_limits import KeyLimits
from service.key_ring import KeyRing, unauthorized
from service.problems import render

log = logging.getLogger(__name__)

# Keys in the scope. The caller is None where a request has none; without this middleware there is no entry.
_CALLER = "costcurve.caller"
_LIMITS = "costcurve.key_limits"
_ENDINGS = "costcurve.endings"
_VERSIONED = "/v1/"
_WARN_SECONDS = 60.0


class Keys:
    """ASGI middleware that requires a key for every path under /v1, and for the metrics.

    It answers before the body is read, and before a route is looked for.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing, limits: KeyLimits, *, guards_metrics: bool) -> None:
        """Set where keys are looked up.

        Args:
            app: the application.
            ring: knows the callers.
            limits: of each key.
            guards_metrics: True if the metrics have no port of their own, so that they need an `admin` key.
        """
        self._app = app
        self._ring = ring
        self._limits = limits
        self._guards_metrics = guards_metrics
        self._warned_at = float("-inf")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[_CALLER] = None
        is_metrics = self._guards_metrics and scope["path"] == METRICS
        if not is_metrics and not is_versioned(scope):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope)
            if is_metrics and access.Scope.ADMIN not in caller.scopes:
                raise _insufficient(access.Scope.ADMIN, caller)
            standing = self._limits.admit(str(caller.key_id))
        except ApiError as error:
            if isinstance(error, StoreUnavailable):
                log.warning("a key cannot be looked up: %s", error.detail)
            if error.status == 429:
                error.headers["RateLimit-Policy"] = self._limits.policy
            await render(Request(scope), error)(scope, receive, send)
            return
        await self._served(caller, standing, scope, receive, send)

    async def _served(self, caller: Caller, standing: str, scope: Scope, receive: Receive, send: Send) -> None:
        endings: list[Callable[[], None]] = []
        scope.update({_CALLER: caller, _LIMITS: self._limits, _ENDINGS: endings})

        async def limited(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = self._limits.policy
                headers["RateLimit"] = standing
            await send(message)

        try:
            await self._app(scope, receive, limited)
        finally:
            for end in endings:
                end()

    async def _caller(self, scope: Scope) -> Caller:
        given = Headers(scope=scope).getlist("authorization")
        if given and is_exposed(scope) and monotonic() - self._warned_at >= _WARN_SECONDS:
            self._warned_at = monotonic()
            log.warning(
                "a key came without TLS from %s, and others on the way can read it: serve HTTPS by a proxy, and name "
                "the proxy in COSTCURVE_TRUSTED_PROXIES",
                address_of(scope),
            )
        return await self._ring.caller_of(given, address_of(scope))


def is_versioned(scope: Scope) -> bool:
    """Return True if the request's path is one of the API's, whether or not there is such a route."""
    return f"{scope['path']}/".startswith(_VERSIONED)


def caller_of(scope: Scope) -> Caller:
    """Return the caller of this request.

    Without keys every request is the local caller's.

    Raises:
        Unauthorized: keys are required, and the request has none.
    """
    caller: Caller | None = scope.get(_CALLER, LOCAL)
    if caller is None:
        raise unauthorized()
    return caller


def known_caller(scope: Scope) -> Caller | None:
    """Return the caller whose key this request has; None if it has none, or needs none."""
    caller: Caller | None = scope.get(_CALLER)
    return caller


def ensure_allowed(scope: Scope, rule: Rule) -> None:
    """Check that the caller may perform an operation now.

    A heavy operation counts as one of the caller's until its response is sent.

    Raises:
        Unauthorized: keys are required, and the request has none.
        InsufficientScope: the key lacks the scope.
        RateLimited: the key has too many heavy requests.
    """
    if rule.scope is None:
        return
    caller = caller_of(scope)
    if rule.scope not in caller.scopes:
        raise _insufficient(rule.scope, caller)
    limits: KeyLimits | None = scope.get(_LIMITS)
    if rule.is_heavy and limits is not None:
        scope[_ENDINGS].append(limits.begin_heavy(str(caller.key_id)))


def _insufficient(needed: access.Scope, caller: Caller) -> InsufficientScope:
    scopes = ", ".join(sorted(caller.scopes)) or "none"
    return InsufficientScope(
        f"this needs a key with the scope {needed}; this key has: {scopes}",
        headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'},
    )
