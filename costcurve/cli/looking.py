"""`show`, `list`, `cancel` and `presets`."""

from itertools import islice
from typing import Annotated, Literal

import typer
from rich.table import Table

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.describe import details, outcome, table_of
from costcurve.cli.output import output_width, tell, write_json, write_line, write_rich
from costcurve.cli.submission import tags_of

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
    status: Annotated[str | None, typer.Option(help="queued, running, succeeded, failed or cancelled.")] = None,
    experiment: Annotated[str | None, typer.Option(help="neuron or mnist.")] = None,
    loss: Annotated[str | None, typer.Option(help="quadratic or cross_entropy.")] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Only jobs with this tag; repeatable: with all of them."),
    ] = None,
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


def cancel(job_id: JobArgument, service: ServiceOptions) -> None:
    """End a job: a queued one at once, a running one as soon as its worker hears of it."""
    with service.client() as client:
        job = client.cancel(job_id)
    if service.as_json:
        write_json(job)
    else:
        write_line(f"{job.id} {outcome(job)}")


def presets(service: ServiceOptions) -> None:
    """The ready specs, the article's own experiments first."""
    with service.client() as client:
        found = client.presets()
    if service.as_json:
        write_json({"items": [preset.model_dump(mode="json") for preset in found]})
        return
    table = Table("NAME", "WHAT IT SHOWS", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for preset in found:
        table.add_row(preset.name, preset.description)
    write_rich(table)
