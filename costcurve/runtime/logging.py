"""Logging of the service and the workers, set up by entry points.

All code logs by the standard library. Each record becomes one line, for a person or as JSON. It has the fields of the
process, the fields of the current context (`bound`), and the record's own (`extra=`).
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

# One variable for all fields. structlog has one for each, and a worker binds them for each of a pack's 1,000 job runs.
_bound: ContextVar[Mapping[str, object]] = ContextVar("costcurve_log_fields", default=MappingProxyType({}))
_PASSWORD = re.compile(r"(\w://[^/\s:@]*):[^\s@]*@")
# Keys of clients; the first part, which is no secret, shows which key it was.
_KEY = re.compile(r"\b(cck_[0-9a-f]{12})_[A-Za-z0-9_-]+")
_AUTHORIZATION = re.compile(
    r"(?i)(\bauthorization\b[\"']?\s*[:=,]\s*(?:b(?=[\"']))?[\"']?(?:(?:bearer|basic|digest)\s+)?)[^\s\"',;)]+"
)
# libpq also takes passwords, its own and that of a client's key, from a URL's query and from a list of settings.
_PARAMETER = re.compile(r"(?i)\b(password|sslpassword)=('(?:\\.|[^'\\])*'|[^\s&'\"]+)")


def configure_logging(*, log_format: LogFormat = "console", level: str = "INFO", **fields: object) -> None:
    """Write one line per event to standard error.

    Args:
        log_format: "console" for people, "json" for programs: one object per line.
        level: the lowest level that is shown.
        fields: fields of every line of this process, from any thread.
    """

    def add_fields(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        event.pop("color_message", None)  # uvicorn's copy of its message
        return {**fields, **_bound.get(), **event}

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _WithoutSecrets(
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
    # Alembic logs a line whenever the schema is checked.
    logging.getLogger("alembic").setLevel(logging.WARNING)


@contextmanager
def bound(fields: Mapping[str, object]) -> Iterator[None]:
    """Add these fields to what this thread logs within the block."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def bind(fields: Mapping[str, object]) -> None:
    """Add these fields to all later logs of this task or thread."""
    _bound.set({**_bound.get(), **fields})


def _rendering(log_format: LogFormat) -> list[Processor]:
    if log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    renderer = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=_printable_traceback, pad_event_to=0
    )
    return [_printable_fields, renderer]


def _printable_fields(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Escape characters that move a terminal's cursor or forge a line.

    A client could have put them into a path or a name.
    """
    return {printable(key): printable(value) if isinstance(value, str) else value for key, value in event.items()}


def _printable_traceback(stream: TextIO, failure: ExcInfo) -> None:
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, failure)
    stream.write(printable(plain.getvalue(), keep="\n"))


def _without_colours(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's copy of its message, for terminals
    return event


class _WithoutSecrets(structlog.stdlib.ProcessorFormatter):
    """Formatter that masks keys, Authorization headers, and passwords in URLs and connection settings.

    A library may have put them into a message or a traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = _PARAMETER.sub(r"\1=***", _PASSWORD.sub(r"\1:***@", super().format(record)))
        return _AUTHORIZATION.sub(r"\1***", _KEY.sub(r"\1_***", text))
