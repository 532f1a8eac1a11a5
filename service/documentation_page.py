"""The page /docs, served from local files, so that it works without the internet.

Every address in it is relative. An absolute address would need the Host header, which a client may forge. It would
also need the scheme, which a proxy in front of the service hides.
"""

import base64
import hashlib
import re
from importlib import resources

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response

from service.http.security_headers import page_policy
from service.http.strict_routes import StrictRoute

router = APIRouter(route_class=StrictRoute, include_in_schema=False)

_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "application/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
# A key that is entered on the page lives until the page is closed.
_PARAMETERS = {
    "tryItOutEnabled": True,
    "filter": True,
    "displayRequestDuration": True,
    "persistAuthorization": False,
}
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@router.get("/", response_class=Response)
def lead_to_the_documentation() -> Response:
    """Redirect browsers from / to /docs."""
    return Response(status_code=307, headers={"Location": "docs"})


@router.get("/docs", response_class=HTMLResponse)
def show_the_documentation(request: Request) -> HTMLResponse:
    """Show every route with its types, and forms to try it out."""
    bundle, style, icon = (f"swagger/{name}" for name in _MEDIA_TYPES)
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=f"{request.app.title}: documentation",
        swagger_js_url=bundle,
        swagger_css_url=style,
        swagger_favicon_url=icon,
        swagger_ui_parameters=_PARAMETERS,
    )
    page.headers.update(page_policy(*map(_hash_of, _SCRIPT.findall(bytes(page.body).decode()))))
    return page


def _hash_of(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _serve(name: str, media_type: str) -> None:
    @router.get(f"/swagger/{name}", response_class=Response, name=name)
    def serve() -> Response:
        content = resources.files("fastapi_swagger.resources").joinpath(name).read_bytes()
        return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=3600"})


for _name, _media_type in _MEDIA_TYPES.items():
    _serve(_name, _media_type)
