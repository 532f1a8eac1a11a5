"""`compare`: the specs, results and curves of several jobs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from costcurve.cli.arguments import ComparedJobsArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.commands.curves import GranularityOption, MaxPointsOption, save_plot
from costcurve.cli.formatting import figure, value_text
from costcurve.cli.output import tell, write, write_json, write_line, write_rich
from costcurve.client.types import ComparedJob, Comparison


def compare(
    job_ids: ComparedJobsArgument,
    service: ServiceOptions,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="A,B,…", help="Metrics for JSON, CSV or a plot. Default: all; in a plot, the cost."),
    ] = None,
    granularity: GranularityOption = "epoch",
    max_points: MaxPointsOption = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print the curves as CSV, a column for each job and metric.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a plot to this .svg or .png.")] = None,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic scale in the plot.")] = False,
    title: Annotated[str | None, typer.Option(help="The plot's title.")] = None,
) -> None:
    """Compare the specs and results of 2 to 16 jobs.

    The specs are shown where they differ. With --json, the curves are printed, too.
    """
    if plot is None and title is not None:
        raise typer.BadParameter("can only be used with --plot", param_hint="--title")
    if csv and (service.as_json or plot is not None):
        raise typer.BadParameter("cannot be used with --json or --plot", param_hint="--csv")
    with service.client() as client:
        if csv:
            write(client.compare_csv(job_ids, metrics, granularity=granularity, max_points=max_points))
            return
        comparison = client.compare(job_ids, metrics, granularity=granularity, max_points=max_points)
        if plot is not None:
            save_plot(client, job_ids, plot, metrics=metrics, granularity=granularity, log=log, title=title)
    if service.as_json:
        write_json(comparison)
        return
    _show(comparison)
    if plot is not None:
        tell(f"wrote {plot}")


def _show(comparison: Comparison) -> None:
    """Print a column for each job: differing fields, then results."""
    jobs = comparison.jobs
    rows = [("status", [job.status for job in jobs])]
    if any(job.name for job in jobs):
        rows.insert(0, ("name", [job.name or "" for job in jobs]))
    if not comparison.differences:
        write_line("the specs do not differ")
    for each in comparison.differences:
        label = f"{each.field} (derived)" if each.derived else each.field
        rows.append((label, [value_text(each.field, value) for value in _in_order(jobs, each.values)]))
    write_rich(_table(jobs, rows))
    if comparison.results:
        write_line("")
        results = [
            (each.field, [_result(each.field, value) for value in _in_order(jobs, each.values)])
            for each in comparison.results
        ]
        write_rich(_table(jobs, results))


def _table(jobs: Sequence[ComparedJob], rows: Sequence[tuple[str, Sequence[str]]]) -> Table:
    table = Table("", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for job in jobs:
        table.add_column(job.id, overflow="fold")
    for label, cells in rows:
        table.add_row(label, *cells)
    return table


def _in_order(jobs: Sequence[ComparedJob], values: dict[str, Any]) -> list[Any]:
    return [values.get(job.id) for job in jobs]


def _result(field: str, value: object) -> str:
    return "" if value is None else figure(field, value)
