"""`curve`, `flow` and `transcript`: a job's curve as text, data or a plot."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal, TypedDict, Unpack

import typer
from rich.cells import cell_len

from costcurve.cli.arguments import JobArgument, JobsArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.formatting import figure, padded
from costcurve.cli.output import tell, write, write_json
from costcurve.cli.sparkline import ASCII, BLOCKS, sparkline
from costcurve.client.client import Client
from costcurve.client.curves import Granularity
from costcurve.client.errors import CostCurveError
from costcurve.client.types import Curve
from costcurve.core.metrics import metric_named
from costcurve.core.text import printable

GranularityOption = Annotated[
    Granularity, typer.Option(help="epoch: a point for each epoch; step: the cost of each 100 steps.")
]
MaxPointsOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Most points to return; ends and extremes are kept. Default: every point.", show_default=False
    ),
]


class Drawn(TypedDict):
    """Options of a plot, as the client's method `plot` takes them."""

    metrics: str | None
    granularity: Granularity
    log: bool
    title: str | None


_FORMATS: dict[str, Literal["svg", "png"]] = {".svg": "svg", ".png": "png"}


def curve(
    job_ids: JobsArgument,
    service: ServiceOptions,
    metrics: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Metrics to show. Default: all; in a plot, the cost.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print the points as CSV.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a plot to this .svg or .png; several jobs share one plot."),
    ] = None,
    granularity: GranularityOption = "epoch",
    max_points: MaxPointsOption = None,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic scale.")] = False,
    title: Annotated[str | None, typer.Option(help="The plot's title.")] = None,
) -> None:
    """Print a job's curve as text, CSV or JSON, or plot it.

    The text has a line drawn for each metric; CSV and JSON have every point.
    """
    if plot is None and title is not None:
        raise typer.BadParameter("can only be used with --plot", param_hint="--title")
    if plot is None and len(job_ids) > 1:
        raise typer.BadParameter("several jobs can only be given with --plot FILE", param_hint="JOB")
    if plot is not None and max_points is not None:
        raise typer.BadParameter("cannot be used with --plot, which shows every extreme", param_hint="--max-points")
    if csv and (service.as_json or plot is not None):
        raise typer.BadParameter("cannot be used with --json or --plot", param_hint="--csv")
    if plot is not None:
        with service.client() as client:
            save_plot(client, job_ids, plot, metrics=metrics, granularity=granularity, log=log, title=title)
        wrote(plot, service)
        return
    with service.client() as client:
        if csv:
            write(client.curve_csv(job_ids[0], metrics, granularity=granularity, max_points=max_points))
            return
        points = client.curve(job_ids[0], metrics, granularity=granularity, max_points=max_points)
    if service.as_json:
        write_json(points)
    else:
        _sparklines(points, log=log)


def transcript(job_id: JobArgument, service: ServiceOptions) -> None:
    """Print the training line by line, in the article's format."""
    with service.client() as client:
        text = client.transcript(job_id)
    if service.as_json:
        write_json({"job_id": job_id, "lines": text.splitlines()})
    else:
        write(printable(text, keep="\n"))


def flow(
    job_id: JobArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .svg or .png file to write.")],
    service: ServiceOptions,
) -> None:
    """Plot what each layer passes on and how it changes, epoch by epoch."""
    file_format = plot_format(file, named="FILE")
    with service.client() as client:
        picture = client.flow_plot(job_id, format=file_format)
    save(picture, file)
    wrote(file, service)


def save(picture: bytes, file: Path) -> None:
    """Write a file, and create its folder if missing. Raises CostCurveError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
    except OSError as error:
        raise CostCurveError(f"cannot write {file}: {error.strerror}") from error


def save_plot(client: Client, job_ids: list[str], file: Path, **drawn: Unpack[Drawn]) -> None:
    """Write a plot of the jobs to a .svg or .png file.

    Raises:
        CostCurveError: the service refuses, or the file cannot be written.
        typer.BadParameter: the file's name ends in neither .svg nor .png.
    """
    save(client.plot(job_ids, format=plot_format(file), **drawn), file)


def plot_format(file: Path, *, named: str = "--plot") -> Literal["svg", "png"]:
    """Return the format of a picture from the end of its name; `named` is the parameter that gave it.

    Raises:
        typer.BadParameter: it is neither .svg nor .png.
    """
    file_format = _FORMATS.get(file.suffix.lower())
    if file_format is None:
        raise typer.BadParameter(f"{file} must end in .svg or .png", param_hint=named)
    return file_format


def wrote(file: Path, service: ServiceOptions) -> None:
    """Print that a file was written; with --json, as JSON."""
    if service.as_json:
        write_json({"file": str(file)})
    else:
        tell(f"wrote {file}")


def _sparklines(points: Curve, *, log: bool) -> None:
    if not points.x:
        tell("no points yet")
        return
    levels = BLOCKS if _can_print(BLOCKS) else ASCII
    margin = max(cell_len(printable(metric)) for metric in points.series)
    width = max(shutil.get_terminal_size().columns - margin - 1, 10)
    write(f"x = {points.x[0]} … {points.x[-1]}\n" if _can_print("…") else f"x = {points.x[0]} to {points.x[-1]}\n")
    for metric, column in points.series.items():
        values = [value for value in column if value is not None]
        if not values:
            write(f"{padded(printable(metric), margin)} no finite value\n")
            continue
        known = metric_named(metric)
        drawn = sparkline(values, width, log=log and not known.is_share, levels=levels, low=known.low, high=known.high)
        write(f"{padded(printable(metric), margin)} {drawn}\n")
        ends = {"first": values[0], "last": values[-1], "min": min(values), "max": max(values)}
        write(" " * margin + "".join(f" {name} {figure(metric, value)}" for name, value in ends.items()) + "\n")


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
