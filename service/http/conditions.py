"""Conditional requests on one job: its ETag, and changes with If-Match."""

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from costcurve.core.errors import PreconditionFailed
from costcurve.core.job import Job
from service.http_cache import lists_tag

IfMatch = Annotated[
    list[str] | None,
    Header(
        description="ETags of the job. The job is changed only if it has one of them; otherwise the response is 412."
    ),
]


def tag_of(job: Job) -> str:
    """Return the weak ETag of a job: its version and a hash of its history.

    The hash distinguishes two histories with equal versions: a database that is restored from a backup counts on from
    an old version. The ETag is weak because a waiting job's queue position, and the reason why it waits, change
    without it.
    """
    history = (
        *(job.name, sorted(job.tags.items()), job.priority, job.pinned, job.status, job.attempt, job.progress.step),
        *(job.created_at, job.started_at, job.finished_at, job.spec_hash),
    )
    return f'W/"{job.version}-{hashlib.sha256(repr(history).encode()).hexdigest()[:16]}"'


def while_it_matches(if_match: list[str] | None) -> Callable[[Job], None] | None:
    """Return a check that raises PreconditionFailed unless the job matches If-Match.

    Return None if the request has no If-Match. The check takes the locked job. ETags are compared weakly, as for
    If-None-Match: in the strong comparison of RFC 9110, a weak ETag never matches.
    """
    if if_match is None:
        return None

    def check(job: Job) -> None:
        if not lists_tag(if_match, tag_of(job)):
            raise PreconditionFailed(
                f"the job is at version {job.version}, its ETag is {tag_of(job)}; read the job again, then decide"
            )

    return check
