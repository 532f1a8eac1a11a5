"""`costcurve sweep …`: `submit`, `show`, `list`, `watch`, `cancel`, `retry`, `plot` and `presets`."""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.table import Table

from costcurve.cli.arguments import SweepArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.commands.curves import GranularityOption, plot_format, save, wrote
from costcurve.cli.commands.submit import changing, leaving, submitting
from costcurve.cli.exit_codes import ExitCode
from costcurve.cli.formatting import figure, standing, sweep_details, table_of_presets, table_of_sweeps, value_text
from costcurve.cli.job_options import JobOptions, KeyOptions, SourceOptions, parsed_json, submission
from costcurve.cli.output import tell, write_json, write_line, write_rich
from costcurve.cli.progress import display_on
from costcurve.client.client import Client
from costcurve.client.sweep_types import (
    Cell,
    Sweep,
)


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """Options for the grid of a sweep, and its number of repeats."""

    grid: Annotated[
        list[str],
        typer.Option(
            metavar="FIELD=A,B,…",
            help="Values of a field of the spec, or a JSON array of values; repeatable: all combinations are trained.",
            rich_help_panel="The grid",
            show_default=False,
        ),
    ] = field(default_factory=list)
    repeats: Annotated[
        int | None,
        typer.Option(
            help="Jobs for each cell, with the seeds seed, seed + 1, … Default: the number in the preset, or 1.",
            rich_help_panel="The grid",
            show_default=False,
        ),
    ] = None


def submit(
    source: SourceOptions,
    grid: GridOptions,
    job: JobOptions,
    again: KeyOptions,
    service: ServiceOptions,
    wait: Annotated[
        bool, typer.Option("--wait", "--watch", help="Show the progress until all jobs have ended.")
    ] = False,
) -> None:
    """Queue a sweep of jobs over a grid, and print its id.

    It has one job for each cell and each repeat. Takes the options of `costcurve submit`. They hold for all cells; the
    grid overrides them.

    costcurve sweep submit --preset mnist-slow-quadratic --grid loss=quadratic,cross_entropy --repeats 3 --wait

    costcurve sweep submit --preset article-mnist --repeats 5

    costcurve sweep submit --experiment neuron --grid learning_rate=0.05,0.15,0.5 --grid epochs=100,300

    costcurve sweep submit --experiment mnist --grid 'layers=[[784,30,10],[784,100,10]]' --grid init=normal,xavier
    """
    arguments = submission(source, job)
    arguments["grid"] = {**(arguments.get("grid") or {}), **grid_of(grid.grid)}
    if grid.repeats is not None:
        arguments["repeats"] = grid.repeats
    key = again.key()
    with service.client() as client:
        with submitting(key):
            sweep = client.submit_sweep(**arguments, idempotency_key=key)
            if not service.as_json:
                write_line(sweep.id)
                sys.stdout.flush()
        if service.as_json and not wait:
            write_json(sweep)
        if not wait:
            tell(f"{sweep.total:,} jobs; `costcurve sweep watch {sweep.id}` shows their progress")
            return
        ended = follow(client, sweep.id, None if service.as_json else sys.stderr)
    if service.as_json:
        write_json(ended)
    else:
        tell(f"{ended.id} {standing(ended)}")
    end_as(ended)


def show(
    sweep_id: SweepArgument,
    service: ServiceOptions,
    best: Annotated[int, typer.Option(min=0, max=200, help="Number of best cells to show.")] = 10,
) -> None:
    """Print a sweep's grid, its job counts and its best cells.

    A cell's figures are the mean ± standard deviation over its repeats. `costcurve list --sweep SWEEP` lists the jobs
    one by one.
    """
    with service.client() as client:
        sweep = client.get_sweep(sweep_id, leaderboard=best)
    if service.as_json:
        write_json(sweep)
        return
    write_rich(sweep_details(sweep))
    if sweep.leaderboard:
        write_line("")
        write_rich(leaderboard_of(sweep))
    if len(sweep.leaderboard) == best < sweep.cells:
        tell(f"the best {best:,} of {sweep.cells:,} cells; a larger --best shows more")


def list_sweeps(
    service: ServiceOptions,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most sweeps to list.")] = 50,
) -> None:
    """List the sweeps with their job counts, the newest first."""
    with service.client() as client:
        page = client.list_sweeps(limit=limit)
    if service.as_json:
        write_json({"items": [sweep.model_dump(mode="json") for sweep in page.items]})
    elif page.items:
        write_rich(table_of_sweeps(page.items))
    if page.next_cursor is not None:
        tell(f"there are more than {limit} sweeps; a larger --limit shows more")
    elif not page.items:
        tell("no sweeps")


def watch(sweep_id: SweepArgument, service: ServiceOptions) -> None:
    """Follow a sweep until all its jobs have ended, showing its progress.

    The exit code is 0 if all succeeded, otherwise 1. Ctrl-C ends the watching, not the sweep.
    """
    with service.client() as client:
        sweep = follow(client, sweep_id, None if service.as_json else sys.stdout)
    _tell_state(sweep, service)
    end_as(sweep)


def cancel(sweep_id: SweepArgument, service: ServiceOptions) -> None:
    """Cancel all jobs of a sweep that have not ended.

    Waiting jobs are cancelled at once, running ones within about a second.
    """
    with service.client() as client, changing(f"costcurve sweep show {sweep_id}"):
        _tell_state(client.cancel_sweep(sweep_id), service)


def retry(sweep_id: SweepArgument, service: ServiceOptions) -> None:
    """Queue a new job for each failed one, with the same seed.

    Does nothing if no job has failed.
    """
    with service.client() as client, changing(f"costcurve sweep show {sweep_id}"):
        _tell_state(client.retry_sweep(sweep_id), service)


def plot(
    sweep_id: SweepArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .svg or .png file to write.")],
    service: ServiceOptions,
    metrics: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Metrics to plot, with one diagram each. Default: the cost.")
    ] = None,
    granularity: GranularityOption = "epoch",
    best: Annotated[int | None, typer.Option(min=1, max=16, help="Number of best cells to plot. Default: 8.")] = None,
    cells: Annotated[
        str | None, typer.Option(metavar="I,J,…", help="Numbers of the cells to plot, instead of the best.")
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Logarithmic scale.")] = False,
    title: Annotated[str | None, typer.Option(help="The plot's title.")] = None,
) -> None:
    """Plot the mean curves of a sweep's best cells.

    A band around each curve shows the spread of the cell's repeats.
    """
    file_format = plot_format(file)
    numbers = None if cells is None else _numbers(cells)
    if numbers is not None and best is not None:
        raise typer.BadParameter("cannot be used with --cells", param_hint="--best")
    with service.client() as client:
        picture = client.plot_sweep(
            sweep_id,
            format=file_format,
            metrics=metrics,
            granularity=granularity,
            best=best,
            cells=numbers,
            log=log,
            title=title,
        )
    save(picture, file)
    wrote(file, service)


def presets(service: ServiceOptions) -> None:
    """List the ready sweeps; `costcurve sweep submit --preset NAME` queues one."""
    with service.client() as client:
        found = client.sweep_presets()
    if service.as_json:
        write_json({"items": [preset.model_dump(mode="json") for preset in found]})
    else:
        write_rich(table_of_presets(found))


COMMANDS: Mapping[str, Callable[..., None]] = {
    "submit": submit,
    "show": show,
    "list": list_sweeps,
    "watch": watch,
    "cancel": cancel,
    "retry": retry,
    "plot": plot,
    "presets": presets,
}


def follow(client: Client, sweep_id: str, stream: TextIO | None) -> Sweep:
    """Wait for a sweep, and return it when all jobs have ended.

    Args:
        client: the client of the service.
        sweep_id: the sweep.
        stream: where to show the progress; nowhere if None.
    """
    with leaving(sweep_id, "costcurve sweep"):
        if stream is None:
            return client.wait_for_sweep(sweep_id)
        with display_on(stream, transient=True) as display:
            return client.wait_for_sweep(
                sweep_id, on_update=lambda sweep: None if sweep.is_terminal else display.show_sweep(sweep.id, sweep)
            )


def end_as(sweep: Sweep) -> None:
    """Exit with code 1 unless all jobs of the sweep have succeeded."""
    if not sweep.succeeded:
        raise typer.Exit(ExitCode.FAILED)


def grid_of(given: Sequence[str]) -> dict[str, list[Any]]:
    """Return the grid given as FIELD=A,B,… Raises typer.BadParameter."""
    grid: dict[str, list[Any]] = {}
    for each in given:
        name, separator, text = each.partition("=")
        name = name.strip().replace("-", "_")
        if not separator or not name:
            raise typer.BadParameter(f"{each!r} is not FIELD=A,B,…", param_hint="--grid")
        if name in grid:
            raise typer.BadParameter(f"{name} is given twice", param_hint="--grid")
        grid[name] = _values(text.strip())
    return grid


def _values(text: str) -> list[Any]:
    if text.startswith("["):
        values: list[Any] = parsed_json(text, option="--grid")
        return values
    return [_value(part.strip()) for part in text.split(",")]


def _value(text: str) -> int | float | str:
    """Return a finite number if the text is one, otherwise the text.

    The service knows or refuses a name, such as one of an init.
    """
    for number in (int, float):
        try:
            if math.isfinite(value := number(text)):
                return value
        except (ValueError, OverflowError):
            continue
    return text


def _numbers(given: str) -> list[int]:
    try:
        return [int(number) for number in given.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"{given!r} is not a list of numbers, such as 0,3", param_hint="--cells") from error


def _tell_state(sweep: Sweep, service: ServiceOptions) -> None:
    if service.as_json:
        write_json(sweep)
    else:
        write_line(f"{sweep.id} {standing(sweep)}")


# Shown next to the figure by which cells are ranked.
_ALSO_SHOWN = ("final_accuracy", "final_output")


def leaderboard_of(sweep: Sweep) -> Table:
    """Return a row for each cell on the sweep's leaderboard.

    It has the cell's rank, its settings, and its figures as mean ± standard deviation.
    """
    ranked_by = sweep.ranking.figure if sweep.ranking is not None else ""
    shown = [ranked_by, *[name for name in _ALSO_SHOWN if any(name in cell.figures for cell in sweep.leaderboard)]]
    columns: list[tuple[str, Callable[[Cell], str]]] = [
        ("RANK", lambda cell: str(cell.rank)),
        ("CELL", lambda cell: str(cell.cell)),
        *((name.upper(), _setting(name)) for name in sweep.varied),
        ("DONE", lambda cell: f"{cell.counts.get('succeeded', 0)}/{sum(cell.counts.values())}"),
        *((name.upper().replace("_", " "), _figure(name)) for name in shown),
        ("FROM THE BEST", lambda cell: _difference(cell, ranked_by)),
    ]
    table = Table(*(header for header, _ in columns), box=None, pad_edge=False)
    for cell in sweep.leaderboard:
        table.add_row(*(text(cell) for _, text in columns))
    return table


def plus_minus(name: str, mean: float, deviation: float | None) -> str:
    """Return `95.20 ± 0.12 %`: a mean and, if known, its deviation."""
    text = figure(name, mean, digits=4)
    if deviation is None:
        return text
    number, space, unit = text.partition(" ")
    return f"{number} ± {figure(name, deviation, digits=2).partition(' ')[0]}{space}{unit}"


def _setting(name: str) -> Callable[[Cell], str]:
    return lambda cell: value_text(name, cell.settings.get(name))


def _figure(name: str) -> Callable[[Cell], str]:
    def text(cell: Cell) -> str:
        spread = cell.figures.get(name)
        return "" if spread is None else plus_minus(name, spread.mean, spread.stdev)

    return text


def _difference(cell: Cell, figure_name: str) -> str:
    if cell.difference is None or cell.difference.to_cell == cell.cell:
        return ""
    return plus_minus(figure_name, cell.difference.mean, cell.difference.standard_error)
