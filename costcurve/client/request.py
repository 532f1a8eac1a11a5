"""One HTTP request, described without being sent, and what its answer means."""

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
    """A request, of which sending it twice does what sending it once does, unless it is not `repeatable`.

    `media_type`: the content type of a good answer, or None if it has no content; `key`: the idempotency key of a
    submission; `done_code`: the error code which says that an earlier sending, whose answer got lost, has done it;
    `timeout`: seconds to answer in.
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
    timeout: float = 60  # drawing a long curve takes the service a while

    @property
    def leaves_doubt(self) -> bool:
        """Return True if the sender must know whether it was done, where no answer said so."""
        return self.key is not None or not self.repeatable

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
        """Return the answer, parsed.

        Args:
            response: the answer.
            may_be_done: whether the request may have had its effect before, when no answer came back.

        Raises:
            ApiError: the service refused.
            Moved: the answer is a redirect.
            UnexpectedAnswer: this is not CostCurve's answer.
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
    """Return the address of a job, with its id escaped. Raises TypeError, ValueError."""
    return _path_of("job", job_id) + rest


def sweep_path(sweep_id: str, rest: str = "") -> str:
    """Return the address of a sweep, with its id escaped. Raises TypeError, ValueError."""
    return _path_of("sweep", sweep_id) + rest


def _path_of(kind: str, own_id: str) -> str:
    # Dots too are escaped, as `..` would climb.
    escaped = quote(checked_id(kind, own_id), safe="", errors="backslashreplace").replace(".", "%2E")
    return f"/v1/{kind}s/{escaped}"


def as_model(model: type[M]) -> Callable[[httpx.Response], M]:
    """A parser for JSON of this shape."""
    return lambda response: model.model_validate_json(response.content)


def as_text(response: httpx.Response) -> str:
    """A parser for plain text."""
    return response.content.decode()


def as_bytes(response: httpx.Response) -> bytes:
    """A parser that takes anything as it is."""
    return response.content


def picture_type(file_format: str) -> str:
    """Return the content type of a picture. Raises ValueError for a format that is not drawn."""
    if file_format not in _PICTURES:
        raise ValueError(f"format is {file_format!r}; it must be one of {', '.join(_PICTURES)}")
    return _PICTURES[file_format]


def refusal(response: httpx.Response) -> ApiError:
    """Return the service's problem document as an error; or the bare status, if a proxy in between made the answer."""
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
    """Return the URL without what may be a secret in it: its query stays, as the client made it."""
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
    """Return the status, the content type and the first characters of an answer."""
    text = response.content[:200].decode(errors="replace").split()
    begins = f" that begins {' '.join(text)[:_LONGEST_QUOTE]!r}" if text else ""
    return f"status {response.status_code} with {_media_type(response) or 'no content type'}{begins}"


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    if fault["type"] == "json_invalid":
        return f"it is not whole JSON ({fault['msg']})"
    place = ".".join(map(str, fault["loc"]))
    return f"its JSON has another shape ({place + ': ' if place else ''}{fault['msg']})"
