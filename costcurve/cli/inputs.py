"""Input of commands: files, standard input, and strict JSON in them."""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from costcurve.client.errors import CostCurveError

_LARGEST_MIB = 64


def read(file: str) -> bytes:
    """Return the content of a file; `-` means standard input.

    Raises:
        CostCurveError: it cannot be read, or holds more than 64 MiB.
    """
    limit = _LARGEST_MIB << 20
    try:
        if file == "-":
            content = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(limit + 1)
    except OSError as error:
        raise CostCurveError(f"cannot read {_named(file)}: {error.strerror}") from error
    except ValueError as error:  # a file name with a zero byte
        raise CostCurveError(f"cannot read {file!r}: {error}") from error
    if len(content) > limit:
        raise CostCurveError(f"{_named(file)} holds more than {_LARGEST_MIB} MiB")
    return content


def parsed(content: str | bytes) -> Any:
    """Return the value of a JSON document in UTF-8.

    Raises:
        ValueError: it is not JSON, or JSON readers disagree about it: NaN, a number too large, a key given twice.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("not JSON: not UTF-8 text") from error
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite_number, object_pairs_hook=_distinct)
    except RecursionError as error:
        raise ValueError("not JSON that can be read: it is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def _named(file: str) -> str:
    return "standard input" if file == "-" else file


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a finite number")


def _finite_number(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:40])


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r:.80} is given twice in one object")
        found[key] = value
    return found
