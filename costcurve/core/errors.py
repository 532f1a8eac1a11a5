"""Every error of CostCurve: a stable code, an HTTP status, a title, and a text made where it is raised.

An error reaches a client in two ways: as the answer to a request (`ApiError`), or as the `error` of a job that failed
while it was trained (`JobFailure`). docs/errors.md lists all codes; a test fails when one is missing there.
"""

from collections.abc import Sequence
from typing import ClassVar

from costcurve.core.validation import FieldError


class ApiError(Exception):
    """A request that cannot be served. Rendered as `application/problem+json` (RFC 9457)."""

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = (), headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}


class MalformedJson(ApiError):
    """The body is not JSON."""

    code, status, title = "malformed_json", 400, "The body is not JSON"


class MalformedRequest(ApiError):
    """The request breaks a rule of HTTP itself."""

    code, status, title = "malformed_request", 400, "The request is not HTTP as it should be"


class CrossSiteRequest(ApiError):
    """A page of another site sent a request that changes something."""

    code, status, title = "cross_site_request", 403, "This request comes from a page of another site"


class NotFound(ApiError):
    """Nothing lives at this address."""

    code, status, title = "not_found", 404, "Nothing is here"


class JobNotFound(ApiError):
    """No such job."""

    code, status, title = "job_not_found", 404, "No such job"


class SweepNotFound(ApiError):
    """No such sweep."""

    code, status, title = "sweep_not_found", 404, "No such sweep"


class ModelNotFound(ApiError):
    """The job has ended, and there is no model of it."""

    code, status, title = "model_not_found", 404, "The job has no model"


class MethodNotAllowed(ApiError):
    """The address exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "This address does not take this method"


class NotAcceptable(ApiError):
    """The client takes none of the media types in which the service could answer."""

    code, status, title = "not_acceptable", 406, "Not to be had in a media type of the Accept header"


class RequestTooSlow(ApiError):
    """The headers or the body of the request came too slowly."""

    code, status, title = "request_too_slow", 408, "The request came too slowly"


class InvalidTransition(ApiError):
    """The job is in a state in which this cannot happen to it."""

    code, status, title = "invalid_transition", 409, "Not possible in the job's present state"


class ModelNotReady(ApiError):
    """The job has not ended, and so has no model yet."""

    code, status, title = "model_not_ready", 409, "The job has no model yet"


class PreconditionFailed(ApiError):
    """The job is no longer the one that the ETag in If-Match stands for."""

    code, status, title = "precondition_failed", 412, "The job has changed since"


class BodyTooLarge(ApiError):
    """The body exceeds the limit."""

    code, status, title = "body_too_large", 413, "The body is too large"


class UnsupportedMediaType(ApiError):
    """The body is not plain JSON: another type, another charset, or compressed."""

    code, status, title = "unsupported_media_type", 415, "The body must be plain application/json"


class MisdirectedRequest(ApiError):
    """The Host header names a host that this service does not answer for."""

    code, status, title = "misdirected_request", 421, "This service does not answer for that host"


class InvalidRequest(ApiError):
    """A field, query parameter or path parameter is wrong; `errors` names each."""

    code, status, title = "invalid_request", 422, "The request is not valid"


def invalid_fields(fields: Sequence[FieldError]) -> InvalidRequest:
    """The error that tells of these bad fields."""
    count = "one field is" if len(fields) == 1 else f"{len(fields)} fields are"
    shown = "; ".join(f"{field.pointer or 'the body'}: {field.message}" for field in fields[:5])
    return InvalidRequest(f"{count} not valid: {shown}", errors=fields)


class IdempotencyKeyReused(ApiError):
    """The idempotency key belongs to another submission."""

    code, status, title = "idempotency_key_reused", 422, "This idempotency key came with another submission"


class UnknownMetric(ApiError):
    """A metric was asked for that this experiment does not record."""

    code, status, title = "unknown_metric", 422, "No such metric"


class NoTestImages(ApiError):
    """Something was asked that only a network has which reads images."""

    code, status, title = "no_test_images", 422, "This job's model reads no images"


class HeadTooLarge(ApiError):
    """The request line and the headers exceed the limit."""

    code, status, title = "head_too_large", 431, "The headers are too large"


class InternalError(ApiError):
    """A defect of the service. Its cause is in the log, never in the answer."""

    code, status, title = "internal_error", 500, "The service made a mistake"


class Draining(ApiError):
    """The service was told to stop and will in a moment; only `/readyz` answers so."""

    code, status, title = "draining", 503, "The service is about to stop"


class Overloaded(ApiError):
    """The service has more to do than it can; the request was not begun, or was given up."""

    code, status, title = "overloaded", 503, "The service is busy"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "2"})


class StoreUnavailable(ApiError):
    """The database cannot be reached or cannot be written; `permanent` until a person changes something.

    `detail` is for logs and the person at the machine: it may name hosts, users and paths. Clients get `public`.
    """

    code, status, title = "store_unavailable", 503, "The job store is unavailable"

    def __init__(
        self,
        detail: str,
        *,
        permanent: bool = False,
        public: str = "the database cannot be reached or written; nothing was lost, try again",
    ) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})
        self.permanent = permanent
        self.public = public


class JobFailure(Exception):
    """Training cannot go on; the job ends as `failed` with this code and text."""

    code: ClassVar[str]


class Diverged(JobFailure):
    """The cost, or another recorded figure, stopped being finite."""

    code = "diverged"


class StartNotFinite(Diverged):
    """A figure was not finite before the first update."""

    code = "start_not_finite"


class DatasetUnavailable(JobFailure):
    """No source of the data set could serve it."""

    code = "dataset_unavailable"


class TimedOut(JobFailure):
    """The job ran longer than its `max_runtime_seconds`."""

    code = "timed_out"


class OutOfMemory(JobFailure):
    """The device has too little memory for the job."""

    code = "out_of_memory"


class WorkerCrashed(JobFailure):
    """The worker process died under the job, as often as a job may take a worker down."""

    code = "worker_crashed"


class WorkerError(JobFailure):
    """A defect of the worker or an engine; the worker's log has the traceback."""

    code = "worker_error"


class ClaimLost(Exception):
    """A worker wrote for a job that is no longer its own. Its result is dropped."""


class WorkerRetired(Exception):
    """The worker incarnation was given up, and its jobs were given to others: it must end."""
