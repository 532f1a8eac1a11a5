"""`cure`: the trial of what a diagnosis proposes, from its submission to its verdict."""

import sys
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table

from costcurve.cli.arguments import JobArgument
from costcurve.cli.command import ServiceOptions
from costcurve.cli.commands.submit import submitting
from costcurve.cli.commands.sweeps import follow, plus_minus
from costcurve.cli.formatting import fields_text
from costcurve.cli.job_options import KeyOptions
from costcurve.cli.output import tell, write_json, write_line, write_rich
from costcurve.client.client import Client
from costcurve.client.sweep_types import Cell, Sweep
from costcurve.client.trial_types import Judgement
from costcurve.core.trial_limits import MAX_LOOKS, MAX_REPEATS

_UNDECIDED = "undecided"


def cure(
    job_id: JobArgument,
    again: KeyOptions,
    service: ServiceOptions,
    finding: Annotated[
        str | None,
        typer.Option(
            metavar="CODE", help="Finding to test. Default: the first that proposes a change.", show_default=False
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_REPEATS,
            help="Seeds with which both are trained. Default: 5, or 1 if no number depends on the seed.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show the progress meanwhile.")] = False,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided",
            help=f"While the verdict is undecided, double the seeds, at most {MAX_LOOKS - 1} times. Each of the "
            f"{MAX_LOOKS} looks may err with 5 % / {MAX_LOOKS}, so the intervals are wider.",
        ),
    ] = False,
) -> None:
    """Test what the diagnosis of a job proposes, and print the verdict.

    Trains the job's spec as it is and with the finding's change, with the same seeds, and compares them.

    costcurve cure job_... --watch
    """
    key = again.key()
    with service.client() as client:
        with submitting(key):
            looks = MAX_LOOKS if until_decided else None
            sweep = client.trial(job_id, finding=finding, repeats=repeats, looks=looks, idempotency_key=key)
        tested = "a change" if sweep.trial is None or sweep.trial.finding is None else sweep.trial.finding
        tell(f"{sweep.id} tests {tested} with {sweep.repeats} {'seed' if sweep.repeats == 1 else 'seeds'}")
        sweep = _judged(client, sweep, watch=watch and not service.as_json)
        cells = client.sweep_cells(sweep.id, order="cell").items
    if service.as_json:
        write_json(sweep)
    elif sweep.verdict is not None:
        write_line(f"{sweep.verdict.statement}\n")
        write_rich(table_of_cells(sweep, cells))


def table_of_cells(sweep: Sweep, cells: list[Cell]) -> Table:
    """Return a row for each cell of a trial: what is changed, and the figures by which it is judged."""
    # A service of an older version judges one figure only.
    judgements = () if sweep.verdict is None else sweep.verdict.judgements or (sweep.verdict,)
    headers = [judged.metric.upper().replace("_", " ") for judged in judgements]
    table = Table("", "CHANGED", *headers, "SUCCEEDED", box=None, pad_edge=False)
    for place, (name, cell) in enumerate(zip(("as it is", "changed"), cells, strict=True)):
        values = [_value(judged, cell, place) for judged in judgements]
        done = f"{cell.counts.get('succeeded', 0)}/{sum(cell.counts.values())}"
        table.add_row(name, fields_text(cell.settings), *values, done)
    return table


def _value(judged: Judgement, cell: Cell, place: int) -> str:
    """Return the figure of a cell: the mean and spread of its results, or the mean that was judged."""
    spread = cell.figures.get(judged.metric)
    if spread is not None:
        return plus_minus(judged.metric, spread.mean, spread.stdev)
    return "" if judged.means is None else plus_minus(judged.metric, judged.means[place], None)


def _judged(client: Client, sweep: Sweep, *, watch: bool) -> Sweep:
    """Return the trial with its verdict, after as many looks as it was planned for and needs."""
    for repeats in _stages(sweep):
        if repeats > sweep.repeats:
            client.extend_trial(sweep.id, repeats)
        sweep = follow(client, sweep.id, sys.stderr if watch else None)
        if sweep.verdict is None or sweep.trial is None or sweep.trial.looks == 1:
            return sweep
        tell(
            f"look {sweep.trial.look} of at most {sweep.trial.looks}, {sweep.repeats} seeds, "
            f"{100 * sweep.verdict.level:g} % interval: {sweep.verdict.outcome}"
        )
        if sweep.verdict.outcome != _UNDECIDED:
            return sweep
    return sweep


def _stages(sweep: Sweep) -> Iterable[int]:
    """Return the number of seeds at each look: twice as many each time, up to the limit."""
    looks = 1 if sweep.trial is None else sweep.trial.looks
    return dict.fromkeys(min(sweep.repeats * 2**look, MAX_REPEATS) for look in range(looks))
