"""`watch`, and the watching of a job that was just submitted."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

import typer

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.exit_codes import ExitCode
from costcurve.cli.formatting import outcome
from costcurve.cli.output import tell, write_json, write_line
from costcurve.cli.progress import display_on, latest_figures
from costcurve.client.client import Client
from costcurve.client.types import Job


def watch(job_id: JobArgument, service: ServiceOptions) -> None:
    """Follow a job until it ends: exit code 0 if it succeeded, 1 if it failed or was cancelled.

    Ctrl-C ends the watching, not the job.
    """
    with service.client() as client:
        job = follow(client, job_id, None if service.as_json else sys.stdout)
    if service.as_json:
        write_json(job)
    else:
        write_line(f"{job.id} {outcome(job)}")
    end_as(job)


def follow(client: Client, job_id: str, stream: TextIO | None) -> Job:
    """The job once it has ended; until then its progress goes to the stream, if there is one."""
    with leaving(job_id, "costcurve"):
        if stream is None:
            return client.wait(job_id)
        with display_on(stream, transient=True) as display:
            return client.wait(
                job_id,
                on_update=lambda job: (
                    None if job.is_terminal else display.show(job.id, job, latest_figures(client, job))
                ),
            )


@contextmanager
def leaving(watched: str, commands: str) -> Iterator[None]:
    """Ctrl-C ends the watching in here, and what is watched goes on; `commands` is what its commands begin with."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        tell(f"{watched} goes on; `{commands} watch {watched}` watches it again, `{commands} cancel {watched}` ends it")
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt


def submitting(key: str) -> AbstractContextManager[None]:
    """Return a context in which Ctrl-C says what is known of a submission with this key."""
    return in_doubt(
        f"the job may have been queued: the same command with --idempotency-key {key} gives its answer, "
        "and queues nothing twice"
    )


def changing(look: str) -> AbstractContextManager[None]:
    """Return a context in which Ctrl-C says that a change may have been made, and which command tells."""
    return in_doubt(f"it may have been done all the same: `{look}` says how it stands")


@contextmanager
def in_doubt(text: str) -> Iterator[None]:
    """Say this on Ctrl-C, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        tell(f"interrupted; {text}")
        raise typer.Exit(ExitCode.INTERRUPTED) from interrupt


def end_as(job: Job) -> None:
    """End the command as the job has ended."""
    if not job.succeeded:
        raise typer.Exit(ExitCode.FAILED)
