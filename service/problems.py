"""Errors as `application/problem+json` (RFC 9457): one handler renders them all, and the OpenAPI page shows them."""

import logging
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from jobs.errors import (
    ApiError,
    BodyTooLarge,
    InternalError,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    StoreUnavailable,
    invalid_fields,
)
from jobs.validation import FieldError, field_errors

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class ProblemField(BaseModel):
    """One bad field."""

    pointer: str = Field(description="JSON pointer of the field in the body; /query/… and /path/… outside it.")
    message: str


class Problem(BaseModel):
    """Why a request was not served."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str = Field(description="Stable; the documentation lists all of them.")
    errors: list[ProblemField]


def documents(*errors: type[ApiError]) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these errors."""
    texts: dict[int | str, list[str]] = {}
    for error in errors:
        texts.setdefault(error.status, []).append(f"{error.title} (`{error.code}`).")
    return {status: {"model": Problem, "description": " ".join(text)} for status, text in texts.items()}


def problem_of(error: ApiError, *, instance: str) -> Problem:
    """The problem that this error is."""
    return Problem(
        type=f"urn:costcurve:error:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        instance=instance,
        code=error.code,
        errors=[ProblemField(pointer=field.pointer, message=field.message) for field in error.errors],
    )


def render(request: Request, error: ApiError) -> JSONResponse:
    """The answer to a request that met this error."""
    problem = problem_of(error, instance=quote(request.url.path))
    return JSONResponse(problem.model_dump(), error.status, headers=error.headers, media_type=MEDIA_TYPE)


def handle_errors(app: FastAPI) -> None:
    """Make every error of the app, the framework's own included, a problem.

    The handlers are coroutines: plain functions would wait for a thread, and probes must not.
    """

    @app.exception_handler(ApiError)
    async def _ours(request: Request, error: ApiError) -> JSONResponse:
        if isinstance(error, StoreUnavailable):
            log.warning("%s %s: %s", request.method, request.url.path, error.detail)
        return render(request, error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return render(request, _of_validation(error))

    @app.exception_handler(HTTPException)
    async def _frameworks(request: Request, error: HTTPException) -> JSONResponse:
        return render(request, _of_status(request, error))

    @app.exception_handler(Exception)
    async def _defect(request: Request, _error: Exception) -> JSONResponse:
        # The server logs it, traceback and all, after this answer is sent.
        return render(request, InternalError("this is a defect of the service; its log has the cause"))


def _of_validation(error: RequestValidationError) -> ApiError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _malformed(f"{first['ctx']['error']}, at character {first['loc'][1]}")
    return invalid_fields(field_errors(error.errors()))


def _malformed(message: str) -> MalformedJson:
    return MalformedJson(message, errors=[FieldError("", message)])


def _of_status(request: Request, error: HTTPException) -> ApiError:
    headers = dict(error.headers or {})
    match error.status_code:
        case 400:
            # The framework does not say which.
            return _malformed("the body is not UTF-8, is nested too deeply, or has a number with too many digits")
        case 404:
            return NotFound(f"nothing is at {request.url.path}")
        case 405:
            return MethodNotAllowed(f"{request.method} is not possible here", headers=headers)
        case 413:
            return BodyTooLarge(error.detail)
        case 503:
            return Overloaded(error.detail)
    raise error


def describe_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the media type of errors put right, in place."""
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                # The framework files a problem's schema under the media type of the route's success.
                if status >= "400" and "content" in response:
                    response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
    return schema
