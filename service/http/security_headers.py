"""Security headers of every response: content security policy, no content sniffing, no caching by default."""

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.keys import is_versioned

# Caches revalidate their copy at each request; responses belong to one client.
_REVALIDATED = "private, no-cache"
_POLICY = "Content-Security-Policy"
# The strictest policy: a response is data, and no browser may run, load or frame anything for it.
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# An SVG plot has styles and embedded images of its own. It runs no script.
_PICTURE = f"{_NOTHING}; style-src 'unsafe-inline'; img-src data:; font-src data:; sandbox"
_FIXED: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class SafeHeaders:
    """ASGI middleware that adds the security headers and a default Cache-Control.

    A route may set its own content security policy.
    """

    def __init__(self, app: ASGIApp, *, with_keys: bool) -> None:
        """Set whether responses of the API depend on the key of the request."""
        self._app = app
        self._with_keys = with_keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        is_keyed = self._with_keys and is_versioned(scope)
        unkept = "private, no-store" if is_keyed else "no-store"

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_FIXED)
                is_picture = headers.get("content-type", "").startswith("image/svg")
                headers.setdefault(_POLICY, _PICTURE if is_picture else _NOTHING)
                if is_keyed:
                    headers.add_vary_header("Authorization")
                # A response with an ETag may be cached and revalidated; any other is valid only now.
                headers.setdefault("Cache-Control", _REVALIDATED if "etag" in headers else unkept)
            await send(message)

        await self._app(scope, receive, safe)


def page_policy(*script_hashes: str) -> dict[str, str]:
    """Return the header with the policy of a page of the service.

    The page loads files of the service, and runs only those scripts within it whose hashes are given.

    Args:
        script_hashes: as `sha256-…`, of the text between the script's tags.
    """
    scripts = " ".join(f"'{each}'" for each in script_hashes)
    # The documentation sets the style attributes of its elements.
    return {
        _POLICY: f"{_NOTHING}; script-src 'self' {scripts}; style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'"
    }
