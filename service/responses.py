"""Parts shared by routes that create resources: idempotency keys, headers and body errors."""

from typing import Annotated, Any

from fastapi import Header, Response

from costcurve.core.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedJson,
    QuotaExceeded,
    SubmissionTooLarge,
    UnsupportedMediaType,
)
from costcurve.core.validation import Text

BODY_ERRORS = (MalformedJson, BodyTooLarge, UnsupportedMediaType)
LIMIT_ERRORS = (InvalidRequest, SubmissionTooLarge, QuotaExceeded)

IdempotencyKey = Annotated[
    Text | None,
    Header(
        min_length=1,
        max_length=255,
        description="The same submission with the same key returns the first response again, and creates nothing.",
    ),
]

TEXT_HEADER = {"schema": {"type": "string"}}

CREATED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"Location": TEXT_HEADER, "Idempotent-Replayed": {**TEXT_HEADER, "required": False}}}
}


def set_created_headers(response: Response, location: str, *, replayed: bool) -> None:
    """Set the Location header, and Idempotent-Replayed if the resource existed before."""
    response.headers["Location"] = location
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
