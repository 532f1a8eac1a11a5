# ruff: noqa: D417 - the client shows these docstrings, and its callers do not pass `remote`
"""Operations of the client on jobs, workers and presets.

Each is written once, as steps (transport.py). Their docstrings are the documentation of the client's methods.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, Unpack

import httpx

from costcurve.client.arguments import checked_key, spec_fields, tag_filters
from costcurve.client.errors import CostCurveError, UnexpectedAnswer, WaitTimeout
from costcurve.client.plain_values import plain
from costcurve.client.polling import until_ended
from costcurve.client.request import Call, as_bytes, as_model, job_path
from costcurve.client.transport import Remote, Steps
from costcurve.client.types import (
    Event,
    EventList,
    Job,
    JobPage,
    Preset,
    PresetList,
    ServiceVersion,
    SubmittedJob,
    Validation,
    Worker,
    WorkerList,
)
from costcurve.core.errors import JobNotFound
from costcurve.core.placement import PlacementFields, PlacementOverrides
from costcurve.core.spec import AnySpec

AnyGivenSpec = Mapping[str, Any] | AnySpec


class JobFields(PlacementFields, total=False):
    """Optional fields of a submission, apart from the spec.

    A field that is None is not sent: the service uses its default.
    """

    preset: str | None


class Overrides(PlacementOverrides, total=False):
    """Fields in which a clone differs from the original job.

    Fields left out are copied from the original job.
    """

    spec: Mapping[str, Any]


class Changes(TypedDict, total=False):
    """Fields that `update` changes in a submitted job.

    Fields left out keep their values.
    """

    name: str | None
    tags: Mapping[str, str]
    priority: int
    pinned: bool


class Filters(TypedDict, total=False):
    """Filters, order and page size (`limit`) of a list of jobs.

    A filter that is None matches every job.
    """

    status: str | None
    experiment: str | None
    loss: str | None
    tags: Mapping[str, str] | None
    sweep_id: str | None
    order: Literal["created_at", "-created_at", "-best_accuracy"] | None
    limit: int | None


def submit(
    remote: Remote,
    /,
    spec: AnyGivenSpec | None = None,
    *,
    idempotency_key: str | None = None,
    **fields: Unpack[JobFields],
) -> Steps[SubmittedJob]:
    """Queue one training job and return it without waiting for training.

    Its `warnings` say why it may learn slowly, or not at all. Use `wait` to wait until the job ends.

    Args:
        spec: the spec to train, as a mapping or a model. With a preset, only the fields that differ from the preset.
        fields: `preset` (name of a ready spec), `device` (`auto`, `cpu` or `cuda`), `engine`, `name`, `tags` (up to 16
            pairs of text), `priority` (0 to 100, higher first), `max_runtime_seconds` (limit on the training time, in
            seconds). All are optional.
        idempotency_key: 1 to 255 printable ASCII characters that identify this submission. A second submission with the
            same key creates no second job, even from another program. The client makes a new key if None.

    Raises:
        ApiError: the service refused. Status 422 if the job is not valid; `errors` then lists each rejected field.
        ServiceUnreachable: no response came, also after retries. `uncertain` is True if the service may have accepted
            the job.
    """
    body = submission_body(spec, fields)
    return remote.answer(Call("POST", "/v1/jobs", as_model(SubmittedJob), body=body, key=checked_key(idempotency_key)))


def validate(remote: Remote, /, spec: AnyGivenSpec | None = None, **fields: Unpack[JobFields]) -> Steps[Validation]:
    """Return the resolved spec, cost, forecast and warnings of a submission.

    Takes the arguments of `submit`, but queues nothing.

    Raises:
        ApiError: status 422 if the job is not valid; `errors` lists each rejected field.
    """
    return remote.answer(Call("POST", "/v1/jobs:validate", as_model(Validation), body=submission_body(spec, fields)))


def get(remote: Remote, /, job_id: str) -> Steps[Job]:
    """Return the job in its current state."""
    return remote.answer(Call("GET", job_path(job_id), as_model(Job)))


def list_jobs(remote: Remote, /, *, cursor: str | None = None, **filters: Unpack[Filters]) -> Steps[JobPage]:
    """Return one page of jobs; `iterate` yields the jobs of all pages.

    The newest job comes first, unless `order` selects another order.

    Args:
        cursor: the `next_cursor` of the previous page; None for the first page.
        filters: `status`, `experiment`, `loss`, `tags` (a job must have all of them), `sweep_id`, `order`
            (`created_at`, `-created_at` or `-best_accuracy`), `limit` (jobs a page, 1 to 200; default 50).
    """
    query: dict[str, Any] = {**filters, "cursor": cursor}
    query["tag"] = tag_filters(query.pop("tags", None))
    return remote.answer(Call("GET", "/v1/jobs", as_model(JobPage), query=query))


def wait(
    remote: Remote,
    /,
    job_id: str,
    *,
    timeout: float | None = None,
    poll: float = 1.0,
    on_update: Callable[[Job], object] | None = None,
) -> Steps[Job]:
    """Wait until the job has ended, then return it.

    The job may have succeeded, failed or been cancelled: check its `status`, `result` and `error`.

    Waiting survives a restart of the service.

    Args:
        job_id: id of the job.
        timeout: seconds until the client stops waiting; None waits without limit.
        poll: longest pause between two polls, in seconds. The first pauses are shorter.
        on_update: called with the job after the first poll and after each change.

    Raises:
        WaitTimeout: the job did not end before the timeout. It continues.
    """
    etag = ""

    def look(seen: Job | None, deadline: float | None) -> Steps[Job]:
        nonlocal etag
        headers = {"If-None-Match": etag} if etag else {}
        call = Call("GET", job_path(job_id), _news, headers=headers)
        news = yield from remote.answer(call, deadline=deadline)
        if news is not None:
            job, etag = news
            return job
        if seen is None:
            raise UnexpectedAnswer(
                remote.url, "status 304 says that a job is unchanged, but no state of the job came before"
            )
        return seen

    return until_ended(remote, look, timeout=timeout, poll=poll, on_update=on_update, too_late=WaitTimeout)


def pause(remote: Remote, /, job_id: str) -> Steps[Job]:
    """Pause the job, whether it is queued or running.

    A queued job is paused at once. A running job is paused when its worker sees the request, in about 1 s. Pausing a
    job twice is not an error.

    Raises:
        ApiError: status 409 if the job has ended or is about to be cancelled.
    """
    return remote.answer(Call("POST", job_path(job_id, "/pause"), as_model(Job)))


def resume(remote: Remote, /, job_id: str) -> Steps[Job]:
    """Put the paused job back into the queue, with its progress.

    Training continues where it was paused. A job that is not paused simply continues.

    Raises:
        ApiError: status 409 if the job has ended.
    """
    return remote.answer(Call("POST", job_path(job_id, "/resume"), as_model(Job)))


def cancel(remote: Remote, /, job_id: str) -> Steps[Job]:
    """Cancel the job, whether it is queued, paused or running.

    A queued or paused job is cancelled at once. A running job is cancelled when its worker sees the request, in about
    1 s. Cancelling a job twice is not an error.

    Raises:
        ApiError: status 409 if the job has already succeeded or failed.
    """
    return remote.answer(Call("POST", job_path(job_id, "/cancel"), as_model(Job)))


def clone(
    remote: Remote, /, job_id: str, *, idempotency_key: str | None = None, **overrides: Unpack[Overrides]
) -> Steps[SubmittedJob]:
    """Queue a copy of the job, changed by the overrides.

    The `parent_id` of the new job is the id of the original job.

    Args:
        job_id: id of the original job.
        idempotency_key: as for `submit`.
        overrides: `spec` (only the fields that differ), `device`, `engine`, `name`, `tags`, `priority`,
            `max_runtime_seconds`. None removes a name or a runtime limit.

    Raises:
        ApiError: the service refused. Status 422 if the overrides do not fit the job; `errors` then lists each rejected
            field.
        ServiceUnreachable: as for `submit`.
    """
    path = job_path(job_id, "/clone")
    return remote.answer(
        Call("POST", path, as_model(SubmittedJob), body=plain(overrides, "overrides"), key=checked_key(idempotency_key))
    )


def fork(
    remote: Remote,
    /,
    job_id: str,
    *,
    at_epoch: int,
    loss: str | None = None,
    reduction: str | None = None,
    learning_rate: float | None = None,
    idempotency_key: str | None = None,
    **placement: Unpack[PlacementOverrides],
) -> Steps[SubmittedJob]:
    """Queue a job that equals this one up to an epoch, bit for bit, and differs from there on.

    The `parent_id` of the new job is the id of this job. Changes in this job's schedule from that epoch on are left
    out.

    Args:
        job_id: id of the parent.
        at_epoch: the first epoch that differs, from 1 to epochs - 1; for a neuron, the first update.
        loss: the loss from there on. None, here and below, keeps the value that holds before.
        reduction: the reduction from there on. If the loss changes, None is the default of the new loss.
        learning_rate: the learning rate from there on.
        idempotency_key: as for `submit`.
        placement: `device`, `engine`, `name`, `tags`, `priority`, `max_runtime_seconds`, as for `clone`.

    Raises:
        ApiError: the service refused. Status 422 if the epoch or the change does not fit the job; `errors` then lists
            each rejected field.
        ServiceUnreachable: as for `submit`.
    """
    given = {"loss": loss, "reduction": reduction, "learning_rate": learning_rate}
    body = {
        **plain(placement, "placement"),
        "at_epoch": plain(at_epoch, "at_epoch"),
        "spec": {name: plain(value, name) for name, value in given.items() if value is not None},
    }
    call = Call("POST", job_path(job_id, "/fork"), as_model(SubmittedJob), body=body, key=checked_key(idempotency_key))
    return remote.answer(call)


def update(remote: Remote, /, job_id: str, **changes: Unpack[Changes]) -> Steps[Job]:
    """Change the job's name, tags, priority or pin, in any state.

    Args:
        job_id: id of the job.
        changes: `name` (None removes it), `tags` (replaces all tags), `priority` (0 to 100, higher first), `pinned`
            (True keeps the job after its retention time).

    Raises:
        ApiError: status 422 if a value is not valid; `errors` lists each rejected field.
    """
    return remote.answer(Call("PATCH", job_path(job_id), as_model(Job), body=plain(changes, "changes")))


def delete(remote: Remote, /, job_id: str) -> Steps[None]:
    """Delete an ended job and everything that belongs to it.

    Raises:
        ApiError: status 409 if the job has not ended; status 404 if there is no such job.
    """
    return remote.answer(Call("DELETE", job_path(job_id), _nothing, media_type=None, done_code=JobNotFound.code))


def events(remote: Remote, /, job_id: str) -> Steps[list[Event]]:
    """Return all events of the job, the oldest first."""
    listed = yield from remote.answer(Call("GET", job_path(job_id, "/events"), as_model(EventList)))
    return listed.items


def workers(remote: Remote, /) -> Steps[list[Worker]]:
    """Return the workers that are alive, with their running jobs."""
    listed = yield from remote.answer(Call("GET", "/v1/workers", as_model(WorkerList)))
    return listed.items


def presets(remote: Remote, /) -> Steps[list[Preset]]:
    """Return the ready specs, those of the article first."""
    listed = yield from remote.answer(Call("GET", "/v1/presets", as_model(PresetList)))
    return listed.items


def version(remote: Remote, /) -> Steps[str]:
    """Return the version of CostCurve that the service runs."""
    answer = yield from remote.answer(Call("GET", "/v1/version", as_model(ServiceVersion)))
    return answer.version


def ready(remote: Remote, /, *, timeout: float = 5) -> Steps[bool]:
    """Return True if the service is ready to accept requests.

    The service is ready if it responds within `timeout` seconds, can write to its store and is not about to stop.
    The client sends one request, without retries. An error of the client counts as not ready and is not raised.
    """
    try:
        yield from remote.answer(Call("GET", "/readyz", as_bytes, timeout=timeout), retry_seconds=0)
    except CostCurveError:
        return False
    return True


def submission_body(spec: AnyGivenSpec | None, fields: JobFields) -> dict[str, Any]:
    """Return the JSON body of a submission.

    Fields that are None are left out: the service uses its defaults.
    """
    given = {name: plain(value, name) for name, value in fields.items() if value is not None}
    return given if spec is None else {**given, "spec": spec_fields(spec)}


def _news(response: httpx.Response) -> tuple[Job, str] | None:
    """Return the job and its ETag; None for 304 Not Modified."""
    if response.status_code == httpx.codes.NOT_MODIFIED:
        return None
    return Job.model_validate_json(response.content), response.headers.get("ETag", "")


def _nothing(_response: httpx.Response) -> None:
    return None
