"""Images of a prediction, parsed one at a time.

A body has up to 20 MiB. As Python lists of floats, it takes ten times the memory of the array. Parsing it as a whole
would hold the interpreter, and with it every other request, until the end.
"""

import json
import re
from typing import Annotated, Any

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from costcurve.core.errors import invalid_fields
from costcurve.core.spec import PIXELS
from costcurve.core.validation import FieldError, field_errors
from service.http.json_bodies import MAX_VALUES, decoded, ensure_json, malformed, parsed, read_body
from service.schemas.models import MAX_IMAGES, Image, PredictionIn

Images = Annotated[NDArray[np.float32], "(n, 784), 0 to 1"]

_START = re.compile(r'\s*\{\s*"images"\s*:\s*\[\s*(?=\[)')
_NEXT = re.compile(r"\s*,\s*")
_END = re.compile(r"\s*\]\s*\}\s*")
_image: TypeAdapter[list[float]] = TypeAdapter(Image, config=ConfigDict(strict=True, allow_inf_nan=False))
_decoder = json.JSONDecoder()


async def read_images(request: Request) -> Images:
    """Return the images of a request whose body is a `PredictionIn`.

    Routes use it as a dependency.

    Raises:
        UnsupportedMediaType, MalformedJson: the body is not JSON in UTF-8.
        InvalidRequest: the body is not a prediction; names the first bad pixel.
    """
    ensure_json(request)
    body = await read_body(request)
    return await run_in_threadpool(images_of, body)


def images_of(body: bytes) -> Images:
    """Return the images of a body, (n, 784). Raises MalformedJson and InvalidRequest."""
    # Refuse more numbers or lists than allowed before they become objects.
    if not (body.count(b",") < MAX_IMAGES * PIXELS and body.count(b"[") <= MAX_IMAGES + 1 and body.count(b"{") == 1):
        return _of_another_form(body)
    text = decoded(body)
    start = _START.match(text)
    if start is None:
        return _of_another_form(body)
    rows: list[NDArray[np.float32]] = []
    try:
        place = start.end()
        while True:
            values, place = _decoder.raw_decode(text, place)
            rows.append(_row(values, len(rows)))
            following = _NEXT.match(text, place)
            if following is None:
                break
            place = following.end()
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg}, at character {error.pos}") from error
    except RecursionError as error:
        raise malformed("the body is nested too deeply") from error
    except ValueError as error:  # an int beyond sys.get_int_max_str_digits
        raise malformed("the body has a number with too many digits") from error
    if _END.fullmatch(text, place) is None:
        return _of_another_form(body)
    return np.stack(rows)


def _row(values: Any, number: int) -> NDArray[np.float32]:
    try:
        return np.array(_image.validate_python(values), dtype=np.float32)
    except ValidationError as error:
        found = field_errors(error.errors(include_url=False))
        prefix = f"/images/{number}"
        raise invalid_fields([FieldError(prefix + each.pointer, each.message) for each in found]) from error


def _of_another_form(body: bytes) -> Images:
    """Return the images of an unusually written body, or raise its error.

    Most of these bodies are invalid.
    """
    if body.count(b",") > MAX_VALUES:
        raise invalid_fields([FieldError("/images", f"must have 1 to {MAX_IMAGES:,} images of {PIXELS} numbers each")])
    try:
        prediction = PredictionIn.model_validate(parsed(body) if body else None)
    except ValidationError as error:
        raise invalid_fields(field_errors(error.errors(include_url=False))) from error
    return np.array(prediction.images, dtype=np.float32)
