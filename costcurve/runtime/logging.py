"""Logging of the service and the workers, set up once in an entry point.

Everybody logs by the standard library. What was logged becomes one line, for a person or as JSON, with the fields of
the process, those that hold for the moment (`bound`), and the record's own (`extra=`).
"""

import io
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from costcurve.core.text import printable

LogFormat = Literal["console", "json"]

# One variable for all of them. structlog's own has one for each, and a pack binds them for each of a thousand lanes.
_bound: ContextVar[Mapping[str, object]] = ContextVar("costcurve_log_fields", default=MappingProxyType({}))
_PASSWORD = re.compile(r"(\w://[^/\s:@]*):[^\s@]*@")
# libpq takes passwords, its own and that of a client's key, from the query of a URL and from a list of settings, too.
_PARAMETER = re.compile(r"(?i)\b(password|sslpassword)=('(?:\\.|[^'\\])*'|[^\s&'\"]+)")


def configure_logging(*, log_format: LogFormat = "console", level: str = "INFO", **fields: object) -> None:
    """One line an event on standard error.

    Args:
        log_format: "console" for people, "json" for programs: one object a line.
        level: the lowest level that is shown.
        fields: what every line of this process says of it, whichever thread it comes from.
    """

    def add_fields(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        event.pop("color_message", None)  # uvicorn's own: its message once more
        return {**fields, **_bound.get(), **event}

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _WithoutPasswords(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                _without_colours,
                add_fields,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Alembic announces itself at every look at the schema.
    logging.getLogger("alembic").setLevel(logging.WARNING)


@contextmanager
def bound(fields: Mapping[str, object]) -> Iterator[None]:
    """What is logged within, in this thread, has these fields too."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def bind(fields: Mapping[str, object]) -> None:
    """What is logged from now on in this task or thread has these fields too."""
    _bound.set({**_bound.get(), **fields})


def _rendering(log_format: LogFormat) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=_printable_traceback, pad_event_to=0
    )
    return [_printable_fields, renderer]


def _printable_fields(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Escape what a client could have put into a path or a name to move a terminal's cursor or to forge a line."""
    return {printable(key): printable(value) if isinstance(value, str) else value for key, value in event.items()}


def _printable_traceback(stream: TextIO, failure: ExcInfo) -> None:
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, failure)
    stream.write(printable(plain.getvalue(), keep="\n"))


def _without_colours(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's message once more, for terminals
    return event


class _WithoutPasswords(structlog.stdlib.ProcessorFormatter):
    """Whatever a library puts into a message or a traceback: the password of a URL is not shown."""

    def format(self, record: logging.LogRecord) -> str:
        return _PARAMETER.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", super().format(record)))
