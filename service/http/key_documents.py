"""Keys in the OpenAPI document: the security scheme, each operation's scope, and the errors of keys."""

from typing import Any

from costcurve.core.errors import InsufficientScope, RateLimited, Unauthorized
from service.http.operations import RULES
from service.problems import add_error

_SCHEME = "key"
_TEXT = {"schema": {"type": "string"}}


def describe_keys(schema: dict[str, Any]) -> dict[str, Any]:
    """Add the keys to the OpenAPI document, in place, and return it."""
    schema["components"]["securitySchemes"] = {
        _SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "cck_…",
            "description": "A key of a project. It has one or more of the scopes read, submit and admin.",
        }
    }
    for path in schema["paths"].values():
        for operation in path.values():
            scope = RULES[operation["operationId"]].scope
            if scope is None:
                continue
            operation["security"] = [{_SCHEME: [scope.value]}]
            responses = operation["responses"]
            for error in (Unauthorized, InsufficientScope, RateLimited):
                add_error(responses, error)
            responses["401"]["headers"] = {"WWW-Authenticate": _TEXT}
            responses["429"]["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return schema
