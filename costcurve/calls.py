"""One HTTP request, described without being sent, and what its answer means."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import BaseModel, ValidationError

from costcurve.errors import ApiError, BadField, UnexpectedAnswer

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Query = Mapping[str, str | int | bool | Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, of which sending it twice does what sending it once does.

    `creates`: it makes something, of which its sender should know; `done_code`: the error code which says that an
    earlier sending, whose answer got lost, has done it; `timeout`: seconds to answer in.
    """

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    query: Query = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    creates: bool = False
    done_code: str | None = None
    timeout: float = 60  # drawing a long curve takes the service a while

    @property
    def target(self) -> str:
        """Path and query, percent-encoded; parameters that are None are left out."""
        given = {
            key: str(value).lower() if isinstance(value, bool) else value
            for key, value in self.query.items()
            if value is not None
        }
        # What a shell passed on may not be UTF-8; the service then says what it thinks of the escapes.
        query = urlencode(given, doseq=True, errors="backslashreplace")
        return f"{self.path}?{query}" if query else self.path

    @property
    def content(self) -> bytes | None:
        """The body as JSON. Raises ValueError for NaN and the infinities, which JSON does not have."""
        return None if self.body is None else json.dumps(self.body, allow_nan=False).encode()

    def read(self, response: httpx.Response, *, may_be_done: bool = False) -> T:
        """What the service answered.

        Args:
            response: the answer.
            may_be_done: whether the request may have had its effect before, when no answer came back.

        Raises:
            ApiError: the service refused.
            UnexpectedAnswer: this is not CostCurve's answer.
        """
        if response.is_error:
            error = refusal(response)
            if not may_be_done or error.code != self.done_code:
                raise error
            return self.parse(response)
        try:
            if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
                return self.parse(response)
        except (ValidationError, UnicodeDecodeError) as error:
            raise UnexpectedAnswer(str(response.url), _first_line(error)) from error
        raise UnexpectedAnswer(str(response.url), f"status {response.status_code}")


def job_path(job_id: str, rest: str = "") -> str:
    """The address of a job, whatever was given as its id. Raises ValueError for an empty one."""
    return _path_of("job", job_id) + rest


def sweep_path(sweep_id: str, rest: str = "") -> str:
    """The address of a sweep, whatever was given as its id. Raises ValueError for an empty one."""
    return _path_of("sweep", sweep_id) + rest


def _path_of(kind: str, own_id: str) -> str:
    if not own_id:  # which would be the address of all of them
        raise ValueError(f"a {kind}'s id cannot be empty")
    # Dots too are escaped, as `..` would climb.
    return f"/v1/{kind}s/{quote(own_id, safe='', errors='backslashreplace').replace('.', '%2E')}"


def as_model(model: type[M]) -> Callable[[httpx.Response], M]:
    """A parser for JSON of this shape."""
    return lambda response: model.model_validate_json(response.content)


def as_text(response: httpx.Response) -> str:
    """A parser for plain text."""
    return response.content.decode()


def as_bytes(response: httpx.Response) -> bytes:
    """A parser that takes anything as it is."""
    return response.content


def refusal(response: httpx.Response) -> ApiError:
    """The service's problem document as an error; or the bare status, if a proxy in between made the answer."""
    try:
        problem: Any = response.json()
        return ApiError(
            code=str(problem["code"]),
            status=response.status_code,
            title=str(problem["title"]),
            detail=str(problem["detail"]),
            errors=[BadField(str(each["pointer"]), str(each["message"])) for each in problem.get("errors", ())],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        status = response.status_code
        return ApiError(
            code=f"http_{status}",
            status=status,
            title=f"{response.url} answered {status} {response.reason_phrase}".strip(),
            detail="",
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
