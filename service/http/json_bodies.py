"""Request bodies: JSON in UTF-8 with a bounded number of values and unique members."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from costcurve.core.errors import InvalidRequest, MalformedJson, UnsupportedMediaType
from costcurve.core.text import printable, shortened
from costcurve.core.validation import FieldError, json_pointer

# The largest grid of a sweep has 5,000 values; each may be an object of a few members.
MAX_VALUES = 50_000
# No object of the interface has more than about 20 members.
MAX_MEMBERS = 256
# The event loop parses bodies up to this size in bytes faster than it hands them to a thread.
_SMALL_BYTES = 16 << 10
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


def ensure_json(request: Request) -> None:
    """Check a body's headers before any of the body is read.

    A request without a body passes.

    Raises:
        UnsupportedMediaType: the body is not JSON, not in UTF-8, or compressed.
    """
    if "transfer-encoding" not in request.headers and request.headers.get("content-length", "0") == "0":
        return
    codings = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if codings not in {"", "identity"}:
        raise UnsupportedMediaType(
            f"the content encoding is {_shown(codings)}; send the body uncompressed, without Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )
    types = request.headers.getlist("content-type")
    if len(types) > 1:
        raise UnsupportedMediaType("Content-Type is given more than once; send application/json")
    media_type, *parameters = "".join(types).lower().split(";")
    if media_type.strip() != "application/json":
        raise UnsupportedMediaType(
            f"the content type is {_shown(media_type.strip()) or 'missing'}; send application/json"
        )
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in _UTF_8:
            raise UnsupportedMediaType(f"the charset is {_shown(value.strip())}; send UTF-8")


async def read_body(request: Request) -> bytes:
    """Return the request's body after all of it has arrived.

    Raises:
        MalformedJson: the client disconnected before the end of the body.
    """
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
    except ClientDisconnect as error:
        raise malformed("the body ended before the length that Content-Length gives") from error
    return bytes(body)


async def parsed_off_loop(body: bytes) -> Any:
    """Return the value of a JSON body; parse a large one in a thread.

    Raises:
        MalformedJson, InvalidRequest: as `parsed`.
    """
    return parsed(body) if len(body) <= _SMALL_BYTES else await run_in_threadpool(parsed, body)


def parsed(body: bytes) -> Any:
    """Return the value of a JSON body.

    Raises:
        MalformedJson: the body is not JSON in UTF-8.
        InvalidRequest: it has too many values or members, or a member twice.
    """
    # Each value in an array and each member of an object follows one of these bytes.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        _refuse([], f"may have at most {MAX_VALUES:,} values")
    text = decoded(body)
    suspects: list[_Suspect] = []

    def member(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs) <= MAX_MEMBERS:
            return made
        suspects.append(_Suspect(made, [key for key, _ in pairs]))
        return suspects[-1]

    try:
        value = json.loads(text, object_pairs_hook=member)
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg}, at character {error.pos}") from error
    except RecursionError as error:
        raise malformed("the body is nested too deeply") from error
    except ValueError as error:  # the only other cause: an int beyond sys.get_int_max_str_digits
        raise malformed("the body has a number with too many digits") from error
    if suspects:
        place, suspect = _first_suspect(value)
        given = suspect.given
        if len(given) > MAX_MEMBERS:
            _refuse(place, f"may have at most {MAX_MEMBERS} members, and has {len(given):,}")
        twice = next(key for key in given if given.count(key) > 1)
        _refuse([*place, twice], f"is given {given.count(twice)} times; give it once")
    return value


def decoded(body: bytes) -> str:
    """Return the text of a body. Raises MalformedJson if it is not UTF-8."""
    encoding = json.detect_encoding(body)
    if encoding == "utf-8-sig":
        raise malformed("the body begins with a byte order mark; send UTF-8 without one")
    if encoding != "utf-8":
        raise malformed(f"the body is {encoding[:6].upper()}; send UTF-8")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8: byte 0x{body[error.start]:02x} at offset {error.start}") from error


def malformed(message: str) -> MalformedJson:
    """Return the error for a body that is not JSON."""
    return MalformedJson(message, errors=[FieldError("", message)])


class _Suspect(dict[str, Any]):
    """JSON object with a repeated member or too many members.

    `given` has the names of its members in the order of the body.
    """

    def __init__(self, members: dict[str, Any], given: list[str]) -> None:
        super().__init__(members)
        self.given = given


def _first_suspect(value: Any) -> tuple[list[str | int], _Suspect]:
    """Return the first suspect in the value, and the path to it."""
    rest: list[tuple[list[str | int], Any]] = [([], value)]
    while True:
        place, each = rest.pop()
        if isinstance(each, _Suspect):
            return place, each
        if isinstance(each, dict):
            rest += [([*place, key], inner) for key, inner in reversed(each.items())]
        elif isinstance(each, list):
            rest += [([*place, i], inner) for i, inner in reversed([*enumerate(each)])]


def _refuse(place: Sequence[str | int], message: str) -> NoReturn:
    pointer = json_pointer(("body", *place))
    raise InvalidRequest(f"{pointer or 'the body'} {message}", errors=[FieldError(pointer, message)])


def _shown(text: str) -> str:
    return shortened(printable(text), 100)
