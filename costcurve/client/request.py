"""Description of one HTTP request, and the parsing of its response."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import BaseModel, ValidationError

from costcurve.client.address import masked
from costcurve.client.arguments import checked_id
from costcurve.client.errors import ApiError, BadField, Moved, UnexpectedAnswer
from costcurve.client.retry import retry_after

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

JSON = "application/json"
CSV = "text/csv"
TEXT = "text/plain"
FILE = "application/octet-stream"
_PICTURES = {"svg": "image/svg+xml", "png": "image/png"}
_LONGEST_QUOTE = 60
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

Query = Mapping[str, str | int | bool | Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """Request to the service, and the parser of its response.

    - `parse` makes the result from a good response.
    - `media_type` is the content type of a good response; None if it has no content.
    - `key` is the idempotency key of a submission.
    - `repeatable` is True if sending the request twice has the effect of sending it once.
    - `done_code` is the error code which shows that an earlier attempt, whose response was lost, has taken effect.
    - `timeout` is the time in seconds until the response must be complete.
    """

    method: str
    path: str
    parse: Callable[[httpx.Response], T]
    query: Query = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = JSON
    key: str | None = None
    repeatable: bool = True
    done_code: str | None = None
    timeout: float = 60  # seconds; the service may need many of them to draw a long curve

    @property
    def leaves_doubt(self) -> bool:
        """True if a lost response leaves a doubt for the caller."""
        return self.key is not None or not self.repeatable

    @property
    def target(self) -> str:
        """Path and query, percent-encoded, without the parameters that are None."""
        given = {
            key: str(value).lower() if isinstance(value, bool) else value
            for key, value in self.query.items()
            if value is not None
        }
        # Text from a shell may not be UTF-8; the service then receives escapes, and reports them.
        query = urlencode(given, doseq=True, errors="backslashreplace")
        return f"{self.path}?{query}" if query else self.path

    @property
    def content(self) -> bytes | None:
        """Body as JSON; None without a body.

        Raises ValueError for NaN and infinities, which JSON does not have.
        """
        return None if self.body is None else json.dumps(self.body, allow_nan=False).encode()

    def read(self, response: httpx.Response, *, may_be_done: bool = False) -> T:
        """Return the parsed response, or raise the error that it describes.

        Args:
            response: the response of the service.
            may_be_done: True if an earlier attempt without a response may have taken effect.

        Raises:
            ApiError: the service refused.
            Moved: the response is a redirect.
            UnexpectedAnswer: the response is not CostCurve's.
        """
        if response.is_error:
            error = refusal(response)
            if not may_be_done or error.code != self.done_code:
                raise error
            return self.parse(response)
        if response.status_code in _REDIRECTS:
            raise _moved(response, self.path)
        try:
            if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
                self._check_type(response)
                return self.parse(response)
        except ValidationError as error:
            raise UnexpectedAnswer(shown(response.url), f"{_described(response)}; {_first_fault(error)}") from error
        except UnicodeDecodeError as error:
            raise UnexpectedAnswer(shown(response.url), f"{_described(response)}, which is not UTF-8") from error
        raise UnexpectedAnswer(shown(response.url), _described(response))

    def _check_type(self, response: httpx.Response) -> None:
        if response.status_code == httpx.codes.NOT_MODIFIED or self.media_type is None:
            return
        if _media_type(response) != self.media_type:
            raise UnexpectedAnswer(shown(response.url), f"{_described(response)}, not {self.media_type}")


def job_path(job_id: str, rest: str = "") -> str:
    """Return the path of a job, percent-encoded. Raises TypeError, ValueError."""
    return _path_of("job", job_id) + rest


def sweep_path(sweep_id: str, rest: str = "") -> str:
    """Return the path of a sweep, percent-encoded. Raises TypeError, ValueError."""
    return _path_of("sweep", sweep_id) + rest


def _path_of(kind: str, own_id: str) -> str:
    # Dots are escaped too, because `..` would mean the parent path.
    escaped = quote(checked_id(kind, own_id), safe="", errors="backslashreplace").replace(".", "%2E")
    return f"/v1/{kind}s/{escaped}"


def as_model(model: type[M]) -> Callable[[httpx.Response], M]:
    """Return a parser that reads a JSON response into this model."""
    return lambda response: model.model_validate_json(response.content)


def as_text(response: httpx.Response) -> str:
    """Return the body of the response as text (UTF-8)."""
    return response.content.decode()


def as_bytes(response: httpx.Response) -> bytes:
    """Return the body of the response unchanged, as bytes."""
    return response.content


def picture_type(file_format: str) -> str:
    """Return the content type of a plot format. Raises ValueError."""
    if file_format not in _PICTURES:
        raise ValueError(f"format is {file_format!r}; it must be one of {', '.join(_PICTURES)}")
    return _PICTURES[file_format]


def refusal(response: httpx.Response) -> ApiError:
    """Return the problem document of the response as an error.

    If the response has none, because a proxy made it, the error has only the status.
    """
    try:
        problem: Any = response.json()
        return ApiError(
            code=str(problem["code"]),
            status=response.status_code,
            title=str(problem["title"]),
            detail=str(problem["detail"]),
            errors=[BadField(str(each["pointer"]), str(each["message"])) for each in problem.get("errors", ())],
            more_errors=int(problem.get("more_errors") or 0),
            retry_after=retry_after(response.headers),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        status = response.status_code
        return ApiError(
            code=f"http_{status}",
            status=status,
            title=f"{shown(response.url)} answered {status} {response.reason_phrase}".strip(),
            detail="",
            retry_after=retry_after(response.headers),
        )


def shown(url: httpx.URL) -> str:
    """Return the URL without credentials; the query, which the client made, remains."""
    return str(url.copy_with(userinfo=b""))


def _moved(response: httpx.Response, path: str) -> Moved:
    given = response.headers.get("Location", "")
    try:
        target = response.url.join(given) if given else None
    except (httpx.InvalidURL, UnicodeError):
        target = None
    if target is None:
        return Moved(shown(response.url), response.status_code, masked(given), None)
    base, found, _ = str(target.copy_with(query=None, fragment=None, userinfo=b"")).rpartition(path)
    location = masked(str(target.copy_with(query=None, fragment=None)))
    return Moved(shown(response.url), response.status_code, location, base if found else None)


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _described(response: httpx.Response) -> str:
    """Return the status, content type and beginning of a response."""
    text = response.content[:200].decode(errors="replace").split()
    begins = f" that begins {' '.join(text)[:_LONGEST_QUOTE]!r}" if text else ""
    return f"status {response.status_code} with {_media_type(response) or 'no content type'}{begins}"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    if fault["type"] == "json_invalid":
        return f"it is not complete JSON ({fault['msg']})"
    place = ".".join(map(str, fault["loc"]))
    return f"its JSON has an unexpected shape ({place + ': ' if place else ''}{fault['msg']})"
