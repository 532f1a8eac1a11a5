"""Error types, each with a stable code that clients can rely on.

The detail text is made where the error is raised. An error reaches a client in one of two ways. `ApiError` is the
response to a request, and has an HTTP status and a title, too. `JobFailure` is the `error` of a job that failed
during training. docs/errors.md lists all codes; a test fails when one is missing there.
"""

from collections.abc import Sequence
from typing import ClassVar

from costcurve.core.validation import FieldError


class ApiError(Exception):
    """Base of errors that are a response, sent as `application/problem+json` (RFC 9457)."""

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, detail: str, *, errors: Sequence[FieldError] = (), headers: dict[str, str] | None = None):
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}


class MalformedJson(ApiError):
    """Request body that is not JSON."""

    code, status, title = "malformed_json", 400, "The body is not JSON"


class MalformedRequest(ApiError):
    """Request that breaks a rule of HTTP itself."""

    code, status, title = "malformed_request", 400, "The request is not valid HTTP"


class Unauthorized(ApiError):
    """Request without a valid key."""

    code, status, title = "unauthorized", 401, "A valid key is needed"


class InsufficientScope(ApiError):
    """Request with a key that lacks the scope of the operation."""

    code, status, title = "insufficient_scope", 403, "The key may not do this"


class CrossSiteRequest(ApiError):
    """Request for a change, sent by a page of another site."""

    code, status, title = "cross_site_request", 403, "This request comes from a page of another site"


class NotFound(ApiError):
    """Request for an address that does not exist."""

    code, status, title = "not_found", 404, "There is nothing at this address"


class JobNotFound(ApiError):
    """Request for a job that does not exist."""

    code, status, title = "job_not_found", 404, "No such job"


class SweepNotFound(ApiError):
    """Request for a sweep that does not exist."""

    code, status, title = "sweep_not_found", 404, "No such sweep"


class ProjectNotFound(ApiError):
    """Request for a project that does not exist."""

    code, status, title = "project_not_found", 404, "No such project"


class KeyNotFound(ApiError):
    """Request for a key that does not exist."""

    code, status, title = "key_not_found", 404, "No such key"


class ModelNotFound(ApiError):
    """Request for the model of an ended job that has none."""

    code, status, title = "model_not_found", 404, "The job has no model"


class MethodNotAllowed(ApiError):
    """Request with a method that this address does not support."""

    code, status, title = "method_not_allowed", 405, "This address does not support this method"


class NotAcceptable(ApiError):
    """Request that accepts none of the media types the service can send."""

    code, status, title = "not_acceptable", 406, "No media type of the Accept header is available"


class RequestTooSlow(ApiError):
    """Request whose headers or body arrived too slowly."""

    code, status, title = "request_too_slow", 408, "The request arrived too slowly"


class InvalidTransition(ApiError):
    """Request for a change that the job's current state does not allow."""

    code, status, title = "invalid_transition", 409, "The job's state does not allow this"


class ModelNotReady(ApiError):
    """Request for the model of a job that has not ended."""

    code, status, title = "model_not_ready", 409, "The job has no model yet"


class NothingToTry(ApiError):
    """Request for a trial of a job whose diagnosis proposes no change."""

    code, status, title = "nothing_to_try", 409, "The diagnosis proposes no change to try"


class TrialNotExtendable(ApiError):
    """Request for more seeds in a trial that takes none, or not now."""

    code, status, title = "trial_not_extendable", 409, "The trial takes no more seeds"


class ProjectExists(ApiError):
    """Request to create a project whose name is in use."""

    code, status, title = "project_exists", 409, "A project has this name"


class PreconditionFailed(ApiError):
    """Request for a job that no longer matches the ETag in If-Match."""

    code, status, title = "precondition_failed", 412, "The job has changed since it was read"


class BodyTooLarge(ApiError):
    """Request body that exceeds the limit."""

    code, status, title = "body_too_large", 413, "The body is too large"


class UnsupportedMediaType(ApiError):
    """Request body that is not plain JSON.

    It has another media type or another charset, or is compressed.
    """

    code, status, title = "unsupported_media_type", 415, "The body must be plain application/json"


class MisdirectedRequest(ApiError):
    """Request whose Host header names a host this service does not serve."""

    code, status, title = "misdirected_request", 421, "This service does not serve that host"


class InvalidRequest(ApiError):
    """Request with an invalid field, query parameter or path parameter.

    `errors` names each of them.
    """

    code, status, title = "invalid_request", 422, "The request is not valid"


def invalid_fields(fields: Sequence[FieldError]) -> InvalidRequest:
    """Return the error that names these invalid fields."""
    count = "one field is" if len(fields) == 1 else f"{len(fields)} fields are"
    shown = "; ".join(f"{field.pointer or 'the body'}: {field.message}" for field in fields[:5])
    return InvalidRequest(f"{count} not valid: {shown}", errors=fields)


class IdempotencyKeyReused(ApiError):
    """Idempotency key that belongs to another submission."""

    code, status, title = "idempotency_key_reused", 422, "This idempotency key belongs to another submission"


class SubmissionTooLarge(ApiError):
    """Submission that exceeds a limit of its project even if the project has nothing queued."""

    code, status, title = "submission_too_large", 422, "The submission is too large for the project"


class UnknownMetric(ApiError):
    """Request for a metric that this experiment does not record."""

    code, status, title = "unknown_metric", 422, "No such metric"


class NoTestImages(ApiError):
    """Request that needs an image classifier; the job trained a neuron."""

    code, status, title = "no_test_images", 422, "This job's model does not classify images"


class RateLimited(ApiError):
    """Request of a key, or of an address, that has made too many."""

    code, status, title = "rate_limited", 429, "Too many requests"


class QuotaExceeded(ApiError):
    """Submission of a project that has used up a limit, which frees itself."""

    code, status, title = "quota_exceeded", 429, "The project has reached a limit"


class HeadTooLarge(ApiError):
    """Request line and headers that exceed the limit."""

    code, status, title = "head_too_large", 431, "The headers are too large"


class InternalError(ApiError):
    """Defect of the service. The log, never the response, has its cause."""

    code, status, title = "internal_error", 500, "The service has a defect"


class Draining(ApiError):
    """Failed readiness check of a service that is about to stop.

    Only `/readyz` responds with it.
    """

    code, status, title = "draining", 503, "The service is about to stop"


class Overloaded(ApiError):
    """Request that a busy service did not begin, or gave up."""

    code, status, title = "overloaded", 503, "The service is busy"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "2"})


class StoreUnavailable(ApiError):
    """Database that cannot be reached or cannot be written.

    `permanent` means that the error lasts until a person changes something.
    `detail` is for logs and the operator: it may name hosts, users and paths. Clients get `public`.
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
    """Base of errors that end a job as `failed`, with this code.

    Training cannot continue. The text of the error becomes that of the job's `error`.
    """

    code: ClassVar[str]


class Diverged(JobFailure):
    """Cost, or another recorded metric, that stopped being finite."""

    code = "diverged"


class StartNotFinite(Diverged):
    """Metric that was not finite before the first update."""

    code = "start_not_finite"


class DatasetUnavailable(JobFailure):
    """Data set that no source could serve."""

    code = "dataset_unavailable"


class TimedOut(JobFailure):
    """Job that ran longer than its `max_runtime_seconds`."""

    code = "timed_out"


class OutOfMemory(JobFailure):
    """Job for which the device has too little memory."""

    code = "out_of_memory"


class WorkerCrashed(JobFailure):
    """Job that crashed MAX_CRASHES workers in a row while running alone."""

    code = "worker_crashed"


class WorkerError(JobFailure):
    """Defect of a worker or an engine.

    The worker's log has the traceback.
    """

    code = "worker_error"


class ClaimLost(Exception):
    """Write of a worker for a job that it no longer holds.

    The result is dropped.
    """


class WorkerRetired(Exception):
    """Worker incarnation that was retired, and must exit.

    Its jobs were requeued.
    """
