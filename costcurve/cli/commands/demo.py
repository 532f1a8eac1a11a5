"""`demo`: run the article's experiments on a service of its own."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.table import Table

from costcurve.cli.command import JsonOption
from costcurve.cli.commands.curves import save
from costcurve.cli.exit_codes import ExitCode
from costcurve.cli.formatting import duration, figure, init_text, outcome, padded
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import LocalService, how_to_see_the_jobs, make_folder, own_service
from costcurve.cli.output import tell, write, write_json, write_line, write_rich
from costcurve.cli.progress import Display, display_on, latest_figures
from costcurve.client.client import Client
from costcurve.client.errors import CostCurveError, ServiceUnreachable
from costcurve.client.types import Curve, Job
from costcurve.core.text import printable

_LOOK_SECONDS = 0.3


def demo(
    everything: Annotated[
        bool,
        typer.Option(
            "--all", help="Train all presets: also the scaled init, the slow hidden layer and the biased outputs."
        ),
    ] = False,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for pictures and jobs.")] = Path("demo"),
    workers: Annotated[int, typer.Option(min=1, help="Worker processes.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Run the article's experiments: why networks learn slowly, and with which loss they do not.

    Takes a few minutes. Starts a service and workers of its own, trains the presets, prints their results, and draws
    their curves.
    """
    make_folder(output)
    log = output / "demo.log"
    with (
        Interruption() as interruption,
        own_service(output, log, workers) as local,
        Client(local.url) as client,
    ):
        tell(f"starting a service and {workers} worker{'s' if workers > 1 else ''}; their log is {log}")
        if local.wait_until_ready(interruption):
            jobs = _train(client, local, interruption, everything=everything)
        if interruption.happened:
            tell("interrupted; jobs that had not ended are cancelled")
            raise typer.Exit(ExitCode.INTERRUPTED)
        files = _draw(client, jobs, output)
        if as_json:
            write_json({"jobs": {name: job.model_dump(mode="json") for name, job in jobs.items()}, "files": files})
        else:
            _report(client, jobs)
    if not as_json:
        _point_to(files, output)
    _end(jobs)


def _train(client: Client, local: LocalService, interruption: Interruption, *, everything: bool) -> dict[str, Job]:
    """Submit the presets, and follow their jobs until all have ended.

    When interrupted, cancel those that have not ended.
    """
    names = [preset.name for preset in client.presets() if everything or preset.name not in ONLY_WITH_ALL]
    jobs: dict[str, Job] = {name: client.submit(preset=name, name=name) for name in names}
    with display_on(sys.stderr) as display:
        while not interruption.happened and not all(job.is_terminal for job in jobs.values()):
            local.check()
            try:
                _look(client, jobs, display)
            except ServiceUnreachable:
                local.check()  # explains the cause better
                raise
            interruption.pause(_LOOK_SECONDS)
    for job in jobs.values():
        if not job.is_terminal:
            # Otherwise the next demo would first train the jobs that this one left in the queue.
            with suppress(CostCurveError):
                client.cancel(job.id)
    return jobs


def _look(client: Client, jobs: dict[str, Job], display: Display) -> None:
    width = max(map(cell_len, jobs))
    for name, known in jobs.items():
        if not known.is_terminal:
            jobs[name] = client.get(known.id)
            display.show(padded(name, width), jobs[name], latest_figures(client, jobs[name]))


def _draw(client: Client, jobs: Mapping[str, Job], output: Path) -> list[str]:
    files = []
    for picture in PICTURES:
        shown = [jobs[name].id for name in picture.presets if name in jobs and jobs[name].succeeded]
        if len(shown) < len(picture.presets):
            continue
        for file_format in ("svg", "png"):
            file = output / f"{picture.name}.{file_format}"
            save(client.plot(shown, format=file_format, metrics=picture.metrics, title=picture.title), file)
            files.append(str(file))
    return files


def _report(client: Client, jobs: Mapping[str, Job]) -> None:
    for name, job in jobs.items():
        if job.spec["experiment"] == "mnist" and job.succeeded:
            write_line(f"\n{name}")
            write(printable(client.transcript(job.id), keep="\n"))
    write_line("")
    write_rich(summary(client, jobs))
    for name, job in jobs.items():
        if job.succeeded:
            write_line(f"\n{name}: {client.diagnosis(job.id).summary}")


def _point_to(files: list[str], output: Path) -> None:
    write_line("")
    if files:
        write_line("cost curves and results:")
        for file in files:
            write_line(f"  {file}")
    write_line(f"\n{how_to_see_the_jobs(output)}")


def _end(jobs: Mapping[str, Job]) -> None:
    failed = {name: job for name, job in jobs.items() if not job.succeeded}
    for name, job in failed.items():
        tell(f"{name} did not succeed: {job.id} {outcome(job)}")
    if failed:
        raise typer.Exit(ExitCode.FAILED)


# The article's own remarks and the older bad start take a minute each, so they run only with --all.
ONLY_WITH_ALL = frozenset(
    {"mnist-slow-hidden", "mnist-scaled-init", "mnist-biased-quadratic", "mnist-biased-cross-entropy"}
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot of one preset's job, or of several on shared axes."""

    name: str
    presets: tuple[str, ...]
    metrics: str
    title: str


# The output's axis ranges from 0 to 1 in every plot, so that neurons can be compared. The costs of the two losses have
# different units.
_NEURON = "output,cost"

PICTURES = (
    Picture(
        "neuron-good-start",
        ("neuron-good-start",),
        _NEURON,
        "One neuron from (0.6, 0.9), quadratic loss: it learns at once",
    ),
    Picture(
        "neuron-slow-quadratic",
        ("neuron-slow-quadratic",),
        _NEURON,
        "One neuron from (2, 2), quadratic loss: it starts badly wrong, and crawls",
    ),
    Picture(
        "neuron-slow-cross-entropy",
        ("neuron-slow-cross-entropy",),
        _NEURON,
        "One neuron from (2, 2), cross-entropy loss: the slowdown is gone",
    ),
    Picture(
        "mnist-result",
        ("mnist-quadratic", "mnist-cross-entropy"),
        "accuracy,cost",
        "MNIST from an ordinary start: both losses learn",
    ),
    Picture(
        "mnist-slow-start",
        ("mnist-slow-quadratic", "mnist-slow-cross-entropy"),
        "accuracy,cost",
        "MNIST started badly wrong: cross-entropy learns at once",
    ),
)


def summary(client: Client, jobs: Mapping[str, Job]) -> Table:
    """Return a row for each succeeded job: its start and its end."""
    table = Table("PRESET", "LOSS", "INIT", "AT THE START", "AT THE END", "TOOK", box=None, pad_edge=False)
    for preset, job in jobs.items():
        if job.result is not None:
            neuron = job.spec["experiment"] == "neuron"
            shown = "output" if neuron else "cost"
            start = client.curve(job.id, shown, first=0, last=0)
            end = "output" if neuron else "accuracy"
            table.add_row(
                preset,
                str(job.spec["loss"]),
                init_text(job.spec["init"]),
                _first(start, shown),
                f"{end} {figure(end, job.result[f'final_{end}'])}",
                duration(job.result["train_seconds"]),
            )
    return table


def _first(curve: Curve, metric: str) -> str:
    values = curve.series[metric]
    return f"{metric} {figure(metric, values[0])}" if values else ""
