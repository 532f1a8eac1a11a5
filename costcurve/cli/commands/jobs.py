"""`show`, `list`, `events`, `presets`, `workers`, `pause`, `resume`, `cancel`, `update` and `delete`."""

from itertools import islice
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.commands.submit import changing
from costcurve.cli.formatting import details, local_time, outcome, table_of, table_of_presets
from costcurve.cli.job_options import tags_of
from costcurve.cli.output import output_width, tell, write_json, write_line, write_rich
from costcurve.client.types import Job
from costcurve.core.losses import LOSSES

_LONGEST_PAGE = 200


def show(job_id: JobArgument, service: ServiceOptions) -> None:
    """Print everything about one job: spec, status, progress and result."""
    with service.client() as client:
        job = client.get(job_id)
    if service.as_json:
        write_json(job)
    else:
        write_rich(details(job))


def list_jobs(
    service: ServiceOptions,
    status: Annotated[str | None, typer.Option(help="queued, running, paused, succeeded, failed or cancelled.")] = None,
    experiment: Annotated[str | None, typer.Option(help="neuron or mnist.")] = None,
    loss: Annotated[str | None, typer.Option(help=f"{' or '.join(LOSSES)}.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only jobs with this tag; repeatable: jobs with all of the tags."),
    ] = None,
    sweep: Annotated[str | None, typer.Option(metavar="SWEEP", help="Only jobs of this sweep.")] = None,
    order: Annotated[
        Literal["created_at", "-created_at", "-best_accuracy"],
        typer.Option(help="Field to sort by; - means descending."),
    ] = "-created_at",
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to list.")] = 50,
) -> None:
    """List jobs, the newest first unless --order says otherwise."""
    tags = tags_of(tag or [])
    with service.client() as client:
        found = client.iterate(
            status=status,
            experiment=experiment,
            loss=loss,
            tags=tags,
            sweep_id=sweep,
            order=order,
            limit=min(limit + 1, _LONGEST_PAGE),
        )
        jobs = list(islice(found, limit + 1))
    more = len(jobs) > limit
    jobs = jobs[:limit]
    if service.as_json:
        write_json({"items": [job.model_dump(mode="json") for job in jobs]})
    elif jobs:
        write_rich(table_of(jobs, width=output_width()))
    if more:
        tell(f"there are more than {limit} jobs; a larger --limit shows more")
    elif not jobs:
        tell("no jobs")


def events(job_id: JobArgument, service: ServiceOptions) -> None:
    """List all events of a job: time, new status, reason and actor."""
    with service.client() as client:
        found = client.events(job_id)
    if service.as_json:
        write_json({"items": [event.model_dump(mode="json") for event in found]})
        return
    table = Table("AT", "STATUS", "WHY", "BY", box=None, pad_edge=False)
    for event in found:
        table.add_row(local_time(event.at), event.to_status, event.why, event.by)
    write_rich(table)


def workers(service: ServiceOptions) -> None:
    """List the workers that are alive, and the jobs each one runs."""
    with service.client() as client:
        found = client.workers()
    if service.as_json:
        write_json({"items": [worker.model_dump(mode="json") for worker in found]})
    elif found:
        table = Table("ID", "HOST", "PID", "DEVICE", "ENGINES", "HEARTBEAT", "JOBS", box=None, pad_edge=False)
        for worker in found:
            heard = worker.heartbeat_at or worker.started_at
            place = worker.host or "–", "–" if worker.pid is None else str(worker.pid)
            described = (worker.id, *place, worker.device, ", ".join(worker.engines))
            table.add_row(*described, local_time(heard), ", ".join(worker.job_ids))
        write_rich(table)
    else:
        tell("no worker is alive")


def presets(service: ServiceOptions) -> None:
    """List the presets: ready specs, the article's own experiments first."""
    with service.client() as client:
        found = client.presets()
    if service.as_json:
        write_json({"items": [preset.model_dump(mode="json") for preset in found]})
        return
    write_rich(table_of_presets(found))


def pause(job_id: JobArgument, service: ServiceOptions) -> None:
    """Pause a job until `resume` puts it back into the queue.

    A queued job is paused at once, a running one within about a second.
    """
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.pause(job_id), service)


def resume(job_id: JobArgument, service: ServiceOptions) -> None:
    """Put a paused job back into the queue.

    Its training resumes where it stopped.
    """
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.resume(job_id), service)


def cancel(job_id: JobArgument, service: ServiceOptions) -> None:
    """Cancel a job, which ends it before its training is complete.

    A waiting job is cancelled at once, a running one within about a second.
    """
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.cancel(job_id), service)


def update(
    job_id: JobArgument,
    service: ServiceOptions,
    name: Annotated[str | None, typer.Option(help="Display name of the job; empty removes it.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="New tag; all old tags are removed; repeatable; empty removes all tags."
        ),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="0 to 100, higher first.")] = None,
    pin: Annotated[
        bool | None, typer.Option("--pin/--unpin", help="Whether the job is kept after its retention time.")
    ] = None,
) -> None:
    """Change a job's name, tags, priority or pin (pinned jobs are kept)."""
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
        raise typer.BadParameter("no change is given; use --name, --tag, --priority, --pin or --unpin")
    with service.client() as client, changing(f"costcurve show {job_id}"):
        _tell_state(client.update(job_id, **changes), service)


def delete(job_id: JobArgument, service: ServiceOptions) -> None:
    """Delete a job that has ended, with its curve and other data."""
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
