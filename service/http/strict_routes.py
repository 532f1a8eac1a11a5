"""Routes that refuse unknown or repeated parameters and unacceptable bodies.

All checks run before the body is read. A large body is parsed outside the event loop.
"""

import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Annotated, Any, get_origin

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator
from starlette.types import Receive, Scope

from costcurve.core.errors import NotAcceptable, invalid_fields
from costcurve.core.validation import FieldError, bad_value, json_pointer
from service.http.accept import is_acceptable
from service.http.json_bodies import ensure_json, parsed_off_loop, read_body
from service.http.keys import ensure_allowed
from service.http.operations import OPEN, RULES

# A request has at most one of these; `ensure_json` checks the headers of a body.
_SINGLE_HEADERS = ("idempotency-key",)
_DIGITS = re.compile(r"-?[0-9]{1,20}", re.ASCII)


def _in_digits(value: object) -> object:
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise bad_value("must be a whole number in digits, such as 10")
    return value


# A whole number in a query. Python's int() also accepts "1_0", " 10", "+10" and the digits of all scripts.
Whole = Annotated[int, BeforeValidator(_in_digits)]


class StrictRoute(APIRoute):
    """A route that checks the caller's scope, parameters, headers and body before its handler runs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        repeatable = dict(_parameters(self.dependant))
        media_types = _media_types(self)
        rule = RULES[self.name] if self.include_in_schema else OPEN  # a route must be in that table

        async def checked(request: Request) -> Response:
            ensure_allowed(request.scope, rule)
            refuse_parameters(request, repeatable)
            accept = request.headers.getlist("accept")
            if accept and not is_acceptable(accept, media_types):
                raise NotAcceptable(f"this route returns {' or '.join(media_types)}, which the Accept header refuses")
            if self.body_field is not None:
                ensure_json(request)
                body = await read_body(request)
                request = _WithBody(request.scope, request.receive, body, await parsed_off_loop(body) if body else None)
            return await handle(request)

        return checked


class _WithBody(Request):
    """A request whose body has already been read and parsed."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes, parsed: Any) -> None:
        super().__init__(scope, receive)
        self._read = body
        self._parsed = parsed

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> Any:
        return self._parsed


def refuse_parameters(request: Request, repeatable: Mapping[str, bool]) -> None:
    """Refuse unknown parameters, and repeated parameters or headers that must be single.

    Args:
        request: as it arrived.
        repeatable: for each known query parameter, True if it may be repeated.

    Raises:
        InvalidRequest: names each refused parameter and header.
    """
    found = [*_bad_parameters(request, repeatable), *_bad_headers(request)]
    if found:
        raise invalid_fields(found)


def _bad_headers(request: Request) -> Iterator[FieldError]:
    for name in _SINGLE_HEADERS:
        if (count := len(request.headers.getlist(name))) > 1:
            yield FieldError(f"/header/{name}", f"is given {count} times; give it once")


def _bad_parameters(request: Request, repeatable: Mapping[str, bool]) -> Iterator[FieldError]:
    counts: dict[str, int] = {}
    for name, _ in request.query_params.multi_items():
        counts[name] = counts.get(name, 0) + 1
    for name, count in counts.items():
        pointer = json_pointer(["query", name])
        if name not in repeatable:
            known = ", ".join(repeatable) or "none"
            yield FieldError(pointer, f"unknown parameter; allowed: {known}")
        elif count > 1 and not repeatable[name]:
            yield FieldError(pointer, f"is given {count} times; give it once")


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Yield each query parameter, with True if it may be repeated."""
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, each in annotation.model_fields.items():
                yield each.alias or name, get_origin(each.annotation) is list
        else:
            yield field.alias, get_origin(annotation) is list
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _media_types(route: APIRoute) -> list[str]:
    """Return the media types of the route's successful response.

    The list is empty if that response has no body.
    """
    described = route.responses.get(200, {}).get("content")
    if described:
        return list(described)
    response_class = getattr(route.response_class, "value", route.response_class)
    media_type = getattr(response_class, "media_type", None)
    return [media_type] if media_type and route.status_code != 204 else []
