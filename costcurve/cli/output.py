"""Output of commands: results to standard output, remarks to standard error."""

import codecs
import json
import re
import sys
from typing import Any, NoReturn, TextIO

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.text import Text

from costcurve.client.errors import ApiError, CostCurveError, ServiceUnreachable
from costcurve.core.text import printable, shows

# Columns if the output is not a terminal: lines are not wrapped.
_UNLIMITED = 1000
_LINE_END = "\n"
_NOT_ASCII = re.compile(r"[^\n\x20-\x7e]")


class PlainConsole(Console):
    """Rich console that ignores markup and escapes what a terminal would obey."""

    def __init__(self, stream: TextIO) -> None:
        width = None if stream.isatty() else _UNLIMITED
        super().__init__(file=stream, width=width, markup=False, highlight=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return the text of a table cell or line, escaped."""
        return super().render_str(printable(text), **options)

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError, so that the command chooses the exit code."""
        raise BrokenPipeError


def write(text: str) -> None:
    """Write text of a result to standard output, without escapes."""
    sys.stdout.write(text)


def write_line(text: str) -> None:
    """Write one or several lines of a result, with escapes."""
    write(f"{printable(text, keep=_LINE_END)}\n")


def write_json(value: object) -> None:
    """Write a result as one JSON document, indented on a terminal.

    Escapes stand for characters that cannot be printed.
    """
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write(f"{_json(plain, indent=2 if sys.stdout.isatty() else None, stream=sys.stdout)}\n")


def write_rich(renderable: RenderableType) -> None:
    """Write a table or another rich renderable to standard output."""
    PlainConsole(sys.stdout).print(renderable)


def output_width() -> int:
    """Return the number of columns of a line of standard output."""
    return PlainConsole(sys.stdout).width


def tell(text: str) -> None:
    """Write a remark for the user to standard error."""
    _say(printable(text, keep=_LINE_END))


def tell_error(error: CostCurveError, *, as_json: bool) -> None:
    """Write an error to standard error, as text or one JSON line.

    Args:
        error: the error that ended the command.
        as_json: whether the command was called with --json.
    """
    if as_json:
        _say(_json(_document(error), indent=None, stream=sys.stderr))
        return
    if not isinstance(error, ApiError) or not error.errors:
        tell(f"costcurve: {error}")
        return
    tell(f"costcurve: {error.title}")
    for field in error.errors:
        tell(f"  {printable(field.pointer) or 'the body'}: {printable(field.message)}")
    if error.more_errors:
        tell(f"  and {error.more_errors:,} more")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _json(value: object, *, indent: int | None, stream: TextIO) -> str:
    if codecs.lookup(stream.encoding or "utf-8").name != "utf-8":
        return json.dumps(value, indent=indent)
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _NOT_ASCII.sub(lambda found: found[0] if shows(found[0]) else json.dumps(found[0])[1:-1], text)


def _document(error: CostCurveError) -> dict[str, object]:
    match error:
        case ApiError():
            return {
                "code": error.code,
                "status": error.status,
                "title": error.title,
                "detail": error.detail,
                "errors": [field._asdict() for field in error.errors],
                "more_errors": error.more_errors,
                "retry_after": error.retry_after,
                "idempotency_key": error.idempotency_key,
            }
        case ServiceUnreachable():
            return {"code": "service_unreachable", "detail": str(error), "idempotency_key": error.idempotency_key}
        case _:
            return {"code": "client_error", "detail": str(error), "idempotency_key": error.idempotency_key}
