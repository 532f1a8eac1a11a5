"""`article`: test the article's claims, and write a page of verdicts."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from costcurve.article.claims import Judgement
from costcurve.article.collecting import Proceed, collect, draw, jobs_of, submit
from costcurve.article.contents import CLAIMS
from costcurve.article.page import document, page
from costcurve.article.spread import MAX_PAIRS
from costcurve.cli.command import ServiceOptions
from costcurve.cli.commands.curves import save
from costcurve.cli.exit_codes import ExitCode
from costcurve.cli.formatting import outcome
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import LocalService, how_to_see_the_jobs, make_folder, own_service
from costcurve.cli.output import tell, write_json, write_line, write_rich
from costcurve.cli.progress import display_on
from costcurve.client.client import Client
from costcurve.client.errors import CostCurveError, ServiceUnreachable
from costcurve.client.sweep_types import (
    Sweep,
)
from costcurve.client.types import (
    Job,
)

_LOOK_SECONDS = 0.3
_WORKERS = 2


class _Interrupted(Exception):
    """A signal, such as Ctrl-C, has asked the command to end."""


def article(
    service: ServiceOptions,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the page and the jobs.")] = Path("article"),
    seeds: Annotated[
        int,
        typer.Option(min=1, max=MAX_PAIRS, help="Seeds of each MNIST training; one seed says nothing about chance."),
    ] = 3,
    workers: Annotated[
        int | None, typer.Option(min=1, help=f"Worker processes. Default: {_WORKERS}.", show_default=False)
    ] = None,
) -> None:
    """Test each of the article's claims, and write a page of verdicts.

    Takes about a minute. Starts a service and workers of its own, unless --url names a service. A claim that does not
    hold is a result, not an error.
    """
    if service.url and workers is not None:
        raise typer.BadParameter("cannot be used with --url: that service has its own workers", param_hint="--workers")
    make_folder(output)
    with Interruption() as interruption, ExitStack() as stack:
        local = None if service.url else stack.enter_context(_own(output, workers or _WORKERS))
        client = stack.enter_context(service.client() if local is None else Client(local.url))
        try:
            if local is not None:
                local.wait_until_ready(interruption)
            proceed = partial(_proceed, interruption, local)
            proceed()
            jobs = _trained(client, proceed, interruption.pause, seeds)
            _tell_verdicts(client, jobs, proceed, output, as_json=service.as_json)
        except _Interrupted:
            tell("interrupted; jobs that had not ended are cancelled")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except ServiceUnreachable:
            if local is not None:
                local.check()  # explains the cause better
            raise
    if local is not None and not service.as_json:
        write_line(how_to_see_the_jobs(output))


def _own(output: Path, workers: int) -> LocalService:
    log = output / "article.log"
    local = own_service(output, log, workers)
    tell(f"starting a service and {workers} worker{'s' if workers > 1 else ''}; their log is {log}")
    return local


def _proceed(interruption: Interruption, local: LocalService | None) -> None:
    """Raise _Interrupted or ChildEnded if the command has to end."""
    if interruption.happened:
        raise _Interrupted
    if local is not None:
        local.check()


def _trained(client: Client, proceed: Proceed, pause: Callable[[float], None], seeds: int) -> list[Job]:
    """Submit the sweeps, follow them, and return their jobs.

    On an error or an interruption, sweeps that have not ended are cancelled.

    Raises:
        CostCurveError: not every training succeeded, so that not every claim can be judged.
    """
    sweeps = submit(client, seeds)
    try:
        with display_on(sys.stderr) as display:
            while not all(sweep.is_terminal for sweep in sweeps.values()):
                proceed()
                sweeps = {name: client.get_sweep(sweep.id) for name, sweep in sweeps.items()}
                for name, sweep in sweeps.items():
                    display.show_sweep(name, sweep)
                pause(_LOOK_SECONDS)
    finally:
        _cancel([sweep for sweep in sweeps.values() if not sweep.is_terminal], client)
    jobs = jobs_of(client, sweeps.values())
    if failed := [job for job in jobs if not job.succeeded]:
        raise CostCurveError(
            f"{len(failed)} of {len(jobs)} trainings did not succeed, so there is no verdict; "
            f"{failed[0].id} {outcome(failed[0])}"
        )
    return jobs


def _cancel(sweeps: Sequence[Sweep], client: Client) -> None:
    for sweep in sweeps:
        # The first error is the one to report, and a service that is gone trains nothing.
        with suppress(CostCurveError):
            client.cancel_sweep(sweep.id)


def _tell_verdicts(client: Client, jobs: Sequence[Job], proceed: Proceed, output: Path, *, as_json: bool) -> None:
    """Judge every claim, then write the page and the JSON file."""
    tell("collecting the evidence")
    evidence = collect(client, jobs, proceed)
    judgements = [claim.judge(evidence) for claim in CLAIMS]
    pictures = draw(client, CLAIMS, evidence, proceed)
    version = client.version()
    html, data = output / "article.html", output / "article.json"
    found = document(judgements, pictures, jobs, version=version)
    save(page(judgements, pictures, jobs, version=version).encode(), html)
    save(json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False).encode(), data)
    if as_json:
        write_json({**found, "files": [str(html), str(data)]})
    else:
        write_rich(_table(judgements))
        write_line(f"\nthe page: {html}\nthe same as JSON: {data}")


def _table(judgements: Sequence[Judgement]) -> Table:
    table = Table("CLAIM", "VERDICT", "KEY FIGURE", box=None, pad_edge=False)
    table.columns[1].no_wrap = True
    for judgement in judgements:
        table.add_row(judgement.claim.title, judgement.verdict.value, judgement.key_figure)
    return table
