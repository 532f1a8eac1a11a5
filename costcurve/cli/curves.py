"""`curve` and `transcript`."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from costcurve.answers import Curve
from costcurve.cli.arguments import JobArgument, JobsArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.describe import figure
from costcurve.cli.output import tell, write, write_json
from costcurve.cli.sparkline import ASCII, BLOCKS, sparkline
from costcurve.errors import CostCurveError

_FORMATS: dict[str, Literal["svg", "png"]] = {".svg": "svg", ".png": "png"}


def curve(
    job_ids: JobsArgument,
    service: ServiceOptions,
    metrics: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Which metrics. Default: all; in a plot the cost.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Every point, as CSV.")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a plot to this .svg or .png; of several jobs, one plot.")
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic scale.")] = False,
    title: Annotated[str | None, typer.Option(help="The plot's title.")] = None,
) -> None:
    """A job's curve: a line for each metric, or every point as CSV or JSON, or a plot."""
    if plot is None and title is not None:
        raise typer.BadParameter("goes with --plot", param_hint="--title")
    if plot is None and len(job_ids) > 1:
        raise typer.BadParameter("several jobs go with --plot FILE", param_hint="JOB")
    if csv and (service.as_json or plot is not None):
        raise typer.BadParameter("goes neither with --json nor with --plot", param_hint="--csv")
    if plot is not None:
        _plot(job_ids, plot, service, metrics=metrics, log=log, title=title)
        return
    with service.client() as client:
        if csv:
            write(client.curve_csv(job_ids[0], metrics))
            return
        points = client.curve(job_ids[0], metrics)
    if service.as_json:
        write_json(points)
    else:
        _sparklines(points, log=log)


def transcript(job_id: JobArgument, service: ServiceOptions) -> None:
    """The training line by line, as the article prints it."""
    with service.client() as client:
        text = client.transcript(job_id)
    if service.as_json:
        write_json({"job_id": job_id, "lines": text.splitlines()})
    else:
        write(text)


def save(picture: bytes, file: Path) -> None:
    """Write a file, and its folder if need be. Raises CostCurveError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
    except OSError as error:
        raise CostCurveError(f"cannot write {file}: {error.strerror}") from error


def _plot(
    job_ids: list[str], file: Path, service: ServiceOptions, *, metrics: str | None, log: bool, title: str | None
) -> None:
    file_format = _FORMATS.get(file.suffix.lower())
    if file_format is None:
        raise typer.BadParameter(f"{file} must end in .svg or .png", param_hint="--plot")
    with service.client() as client:
        picture = client.plot(job_ids, format=file_format, metrics=metrics, log=log, title=title)
    save(picture, file)
    if service.as_json:
        write_json({"file": str(file)})
    else:
        tell(f"wrote {file}")


def _sparklines(points: Curve, *, log: bool) -> None:
    if not points.x:
        tell("no points yet")
        return
    levels = BLOCKS if _can_print(BLOCKS) else ASCII
    margin = max(map(len, points.series))
    width = max(shutil.get_terminal_size().columns - margin - 1, 10)
    write(f"x = {points.x[0]} … {points.x[-1]}\n" if _can_print("…") else f"x = {points.x[0]} to {points.x[-1]}\n")
    for metric, values in points.series.items():
        write(f"{metric:{margin}} {sparkline(values, width, log=log, levels=levels)}\n")
        ends = {"first": values[0], "last": values[-1], "min": min(values), "max": max(values)}
        write(" " * margin + "".join(f" {name} {figure(metric, value)}" for name, value in ends.items()) + "\n")


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
