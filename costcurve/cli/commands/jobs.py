"""`show`, `list`, `events`, `presets` and `workers`."""

from itertools import islice
from typing import Annotated, Literal

import typer
from rich.table import Table

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.formatting import details, local_time, table_of, table_of_presets
from costcurve.cli.job_options import tags_of
from costcurve.cli.output import output_width, tell, write_json, write_rich

_LONGEST_PAGE = 200


def show(job_id: JobArgument, service: ServiceOptions) -> None:
    """Everything about one job."""
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
    loss: Annotated[str | None, typer.Option(help="quadratic or cross_entropy.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only jobs with this tag; repeatable: with all of them."),
    ] = None,
    sweep: Annotated[str | None, typer.Option(metavar="SWEEP", help="Only jobs of this sweep.")] = None,
    order: Annotated[
        Literal["created_at", "-created_at", "-best_accuracy"], typer.Option(help="What to sort by; - is descending.")
    ] = "-created_at",
    limit: Annotated[int, typer.Option(min=1, help="How many jobs at most.")] = 50,
) -> None:
    """The jobs, the newest first."""
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
        tell(f"there are more than {limit}; --limit shows more")
    elif not jobs:
        tell("no jobs")


def events(job_id: JobArgument, service: ServiceOptions) -> None:
    """All that happened to a job: when, what state it was then in, why, and who did it."""
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
    """The workers that are alive, and the jobs that each has in hand."""
    with service.client() as client:
        found = client.workers()
    if service.as_json:
        write_json({"items": [worker.model_dump(mode="json") for worker in found]})
    elif found:
        table = Table("ID", "HOST", "PID", "DEVICE", "ENGINES", "HEARD FROM", "JOBS", box=None, pad_edge=False)
        for worker in found:
            heard = worker.heartbeat_at or worker.started_at
            described = (worker.id, worker.host, str(worker.pid), worker.device, ", ".join(worker.engines))
            table.add_row(*described, local_time(heard), ", ".join(worker.job_ids))
        write_rich(table)
    else:
        tell("no worker is alive")


def presets(service: ServiceOptions) -> None:
    """The ready specs, the article's own experiments first."""
    with service.client() as client:
        found = client.presets()
    if service.as_json:
        write_json({"items": [preset.model_dump(mode="json") for preset in found]})
        return
    write_rich(table_of_presets(found))
