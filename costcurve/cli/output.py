"""Where a command's words go: results to standard output, everything said about them to standard error."""

import json
import sys
from typing import NoReturn, TextIO

from pydantic import BaseModel
from rich.console import Console, RenderableType

from costcurve.errors import ApiError, CostCurveError, ServiceUnreachable

# A reader that is no terminal wants whole lines.
_UNLIMITED = 1000


class PlainConsole(Console):
    """Prints what it is given: no markup is looked for in names that somebody chose."""

    def __init__(self, stream: TextIO) -> None:
        width = None if stream.isatty() else _UNLIMITED
        super().__init__(file=stream, width=width, markup=False, highlight=False, emoji=False)

    def on_broken_pipe(self) -> NoReturn:
        """Leave the decision to the command."""
        raise BrokenPipeError


def write(text: str) -> None:
    """Result text, exactly as it is."""
    sys.stdout.write(text)


def write_line(text: str) -> None:
    """A line of result."""
    write(f"{text}\n")


def write_json(value: object) -> None:
    """A result for a machine: one JSON document."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_line(json.dumps(plain, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def write_rich(renderable: RenderableType) -> None:
    """A table, or anything else that rich can draw."""
    PlainConsole(sys.stdout).print(renderable)


def output_width() -> int:
    """How many characters a line of result may have."""
    return PlainConsole(sys.stdout).width


def tell(text: str) -> None:
    """A remark to the person at the terminal."""
    sys.stderr.write(f"{text}\n")


def tell_error(error: CostCurveError, *, as_json: bool) -> None:
    """What went wrong; as one line of JSON if the command was to speak JSON."""
    if as_json:
        tell(json.dumps(_document(error), ensure_ascii=False))
        return
    if not isinstance(error, ApiError) or not error.errors:
        tell(f"costcurve: {error}")
        return
    tell(f"costcurve: {error.title}")
    for field in error.errors:
        tell(f"  {field.pointer or 'the body'}: {field.message}")


def _document(error: CostCurveError) -> dict[str, object]:
    match error:
        case ApiError():
            return {
                "code": error.code,
                "status": error.status,
                "title": error.title,
                "detail": error.detail,
                "errors": [field._asdict() for field in error.errors],
            }
        case ServiceUnreachable():
            return {"code": "service_unreachable", "detail": str(error)}
        case _:
            return {"code": "client_error", "detail": str(error)}
