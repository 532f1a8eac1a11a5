"""Conditional requests on one job: its ETag, and changes that are made only while it is as the client last saw it."""

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import Header

from costcurve.core.errors import PreconditionFailed
from costcurve.core.job import Job
from service.http_cache import lists_tag

IfMatch = Annotated[
    list[str] | None,
    Header(description="ETags of the job; the change is made only while it has one of them, and refused by 412 else."),
]


def tag_of(job: Job) -> str:
    """Return the ETag of a job: its version, and a hash of what tells two histories with equal versions apart.

    It is weak: a waiting job's place in the queue, and why it waits, change without it. Versions alone would not do: a
    database that is restored from a backup counts on from an old one.
    """
    history = (
        *(job.name, sorted(job.tags.items()), job.priority, job.pinned, job.status, job.attempt, job.progress.step),
        *(job.created_at, job.started_at, job.finished_at, job.spec_hash),
    )
    return f'W/"{job.version}-{hashlib.sha256(repr(history).encode()).hexdigest()[:16]}"'


def while_it_matches(if_match: list[str] | None) -> Callable[[Job], None] | None:
    """Return a check of a locked job that raises PreconditionFailed; None if the client asks for none.

    Tags are compared weakly, as they are for If-None-Match: RFC 9110 wants a strong comparison, in which a weak tag
    never matches.
    """
    if if_match is None:
        return None

    def check(job: Job) -> None:
        if not lists_tag(if_match, tag_of(job)):
            raise PreconditionFailed(
                f"the job is at version {job.version}, and its ETag is {tag_of(job)}; read it again, then decide"
            )

    return check
