"""Errors as `application/problem+json` (RFC 9457): one handler for all, and their OpenAPI descriptions."""

import logging
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from costcurve.core.errors import (
    ApiError,
    BodyTooLarge,
    CrossSiteRequest,
    InternalError,
    InvalidRequest,
    MalformedJson,
    MalformedRequest,
    MethodNotAllowed,
    MisdirectedRequest,
    NotAcceptable,
    NotFound,
    Overloaded,
    StoreUnavailable,
    invalid_fields,
)
from costcurve.core.text import shortened, storable
from costcurve.core.validation import field_errors
from service.http.methods import allowed_methods, method_of

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

MAX_ERRORS = 50
# Responses shorten the parts of a request that they repeat: a pointer may hold a name of a megabyte.
_MAX_POINTER = 300
_MAX_MESSAGE = 500
_MAX_DETAIL = 2_000


_OF_ALL = (MalformedRequest, NotAcceptable, MisdirectedRequest, InvalidRequest)
_OF_CHANGES = (CrossSiteRequest,)
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


class ProblemField(BaseModel):
    """One invalid field of the request."""

    pointer: str = Field(
        description="JSON pointer of the field in the body; /query/… for a parameter, /path/… for a part of the path."
    )
    message: str


class Problem(BaseModel):
    """Error response with the reason why a request was not served."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="Stable code of the error; docs/errors.md lists all codes.")
    errors: list[ProblemField] = Field(description=f"The invalid fields, {MAX_ERRORS} at most.", max_length=MAX_ERRORS)
    more_errors: int = Field(description="Number of invalid fields that `errors` leaves out.")


def documents(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` argument of a route that may raise these errors."""
    texts: dict[int | str, list[str]] = {}
    for error in errors:
        texts.setdefault(error.status, []).append(f"{error.title} (`{error.code}`).")
    return {status: {"model": Problem, "description": " ".join(text)} for status, text in texts.items()}


def problem_of(error: ApiError, *, instance: str) -> Problem:
    """Return the problem that describes this error to the client."""
    detail = error.public if isinstance(error, StoreUnavailable) else error.detail
    return Problem(
        type=f"urn:costcurve:error:{error.code}",
        title=error.title,
        status=error.status,
        detail=_text(detail, _MAX_DETAIL),
        instance=instance,
        code=error.code,
        errors=[
            ProblemField(pointer=_text(field.pointer, _MAX_POINTER), message=_text(field.message, _MAX_MESSAGE))
            for field in error.errors[:MAX_ERRORS]
        ],
        more_errors=max(0, len(error.errors) - MAX_ERRORS),
    )


def render(request: Request, error: ApiError) -> JSONResponse:
    """Return the problem response to a request that raised this error."""
    problem = problem_of(error, instance=shortened(quote(request.url.path), _MAX_MESSAGE))
    return JSONResponse(problem.model_dump(), error.status, headers=error.headers, media_type=MEDIA_TYPE)


def _text(text: str, length: int) -> str:
    return storable(shortened(text, length))


def handle_errors(app: FastAPI) -> None:
    """Register handlers that render every error, the framework's included, as a problem.

    The handlers are coroutines: plain functions would wait for a thread, and probes must not wait.
    """

    @app.exception_handler(ApiError)
    async def _ours(request: Request, error: ApiError) -> JSONResponse:
        if isinstance(error, StoreUnavailable):
            log.warning("%s %s: %s", request.method, shortened(request.url.path, _MAX_MESSAGE), error.detail)
        return render(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return render(request, _of_validation(error))

    @app.exception_handler(HTTPException)
    async def _frameworks(request: Request, error: HTTPException) -> JSONResponse:
        return render(request, _of_status(request, error))

    @app.exception_handler(Exception)
    async def _defect(request: Request, _error: Exception) -> JSONResponse:
        # The server logs it, with its traceback, after this response is sent.
        return render(request, InternalError("this is a defect of the service; its log has the cause"))


def _of_validation(error: RequestValidationError) -> ApiError:
    return invalid_fields(field_errors(error.errors()))


def _of_status(request: Request, error: HTTPException) -> ApiError:
    match error.status_code:
        case 400:
            return MalformedJson("the body cannot be read")
        case 404:
            return NotFound(f"there is no route {request.url.path}; /docs lists all routes")
        case 405:
            allowed = ", ".join(allowed_methods(request))
            message = f"Method {method_of(request.scope)} is not allowed here; allowed: {allowed}"
            return MethodNotAllowed(message, headers={"Allow": allowed})
        case 413:
            return BodyTooLarge(error.detail)
        case 503:
            return Overloaded(error.detail)
    raise error


def describe_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """Add the errors of every route to the OpenAPI document, in place.

    Also correct the media type of error responses. Return the same document.
    """
    for path in schema["paths"].values():
        for method, operation in path.items():
            responses = operation["responses"]
            for error in (*_OF_ALL, *(() if method == "get" else _OF_CHANGES)):
                add_error(responses, error)
            for status, response in responses.items():
                # The framework puts a problem's schema under the media type of the route's successful response.
                if status >= "400" and "content" in response:
                    response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
    return schema


def add_error(responses: dict[str, Any], error: type[ApiError]) -> None:
    """Add an error to the `responses` of an operation in the OpenAPI document, in place."""
    described = responses.setdefault(str(error.status), {"description": "", "content": dict(_PROBLEM)})
    text = f"{error.title} (`{error.code}`)."
    if text not in described["description"]:
        described["description"] = f"{described['description']} {text}".strip()
