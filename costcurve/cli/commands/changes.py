"""`pause`, `resume`, `cancel`, `update` and `delete`."""

from typing import Annotated, Any

import typer

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.commands.watch import changing
from costcurve.cli.formatting import outcome
from costcurve.cli.job_options import tags_of
from costcurve.cli.output import write_json, write_line
from costcurve.client.types import Job


def pause(job_id: JobArgument, service: ServiceOptions) -> None:
    """Put a job aside, until `resume`: a queued one at once, a running one as soon as its worker hears of it."""
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.pause(job_id), service)


def resume(job_id: JobArgument, service: ServiceOptions) -> None:
    """Put a paused job back into the queue; it goes on where it was."""
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.resume(job_id), service)


def cancel(job_id: JobArgument, service: ServiceOptions) -> None:
    """End a job: a waiting one at once, a running one as soon as its worker hears of it."""
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.cancel(job_id), service)


def update(
    job_id: JobArgument,
    service: ServiceOptions,
    name: Annotated[str | None, typer.Option(help="A name for people; empty for none.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="The job's tags instead of those it has; repeatable; empty for none."),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 100, higher first.")] = None,
    pin: Annotated[
        bool | None, typer.Option("--pin/--unpin", help="Whether it is kept, however old it becomes.")
    ] = None,
) -> None:
    """Change what a job is called, how urgent it is, or whether it is kept."""
    changes: dict[str, Any] = {}
    if name is not None:
        changes["name"] = name or None
    if tag:
        changes["tags"] = tags_of([given for given in tag if given])
    if priority is not None:
        changes["priority"] = priority
    if pin is not None:
        changes["pinned"] = pin
    if not changes:
        raise typer.BadParameter("say what to change: --name, --tag, --priority, --pin or --unpin")
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.update(job_id, **changes), service)


def delete(job_id: JobArgument, service: ServiceOptions) -> None:
    """Forget a job that has ended, with its curve and everything else that belongs to it."""
    with service.client() as client, changing(f"costcurve show {job_id}"):
        client.delete(job_id)
    if service.as_json:
        write_json({"id": job_id, "deleted": True})
    else:
        write_line(f"{job_id} deleted")


def _tell_state(job: Job, service: ServiceOptions) -> None:
    if service.as_json:
        write_json(job)
    else:
        write_line(f"{job.id} {outcome(job)}")
