"""Requests to a service: submit the article's sweeps, then collect the evidence."""

from collections.abc import Callable, Iterable, Sequence

from costcurve.article.claims import Claim, Plot
from costcurve.article.evidence import Evidence, Rescue, Run, Start
from costcurve.article.page import Picture
from costcurve.client.client import Client
from costcurve.client.sweep_types import (
    Sweep,
)
from costcurve.client.types import (
    Job,
)
from costcurve.core.presets import RESCUE_CURVE

_NEURON = "article-neuron"
_NETWORKS = ("article-mnist", "article-equal-rates", RESCUE_CURVE)
_NETWORK_STARTS = (Start.ORDINARY, Start.WRONG_OUTPUTS, Start.SATURATED_HIDDEN, Start.SCALED)
# Most lines on one plot that can still be distinguished.
_MOST_LINES = 6
# Called before each slow request; raises an exception to stop the collecting.
Proceed = Callable[[], None]


def submit(client: Client, seeds: int) -> dict[str, Sweep]:
    """Queue the article's sweeps, and return them by preset name."""
    sweeps = {_NEURON: client.submit_sweep(preset=_NEURON, name=_NEURON)}
    return sweeps | {name: client.submit_sweep(preset=name, name=name, repeats=seeds) for name in _NETWORKS}


def jobs_of(client: Client, sweeps: Iterable[Sweep]) -> list[Job]:
    """Return the jobs of the sweeps, each sweep's in order of creation."""
    return [job for sweep in sweeps for job in client.iterate(sweep_id=sweep.id, order="created_at", limit=200)]


def collect(client: Client, jobs: Sequence[Job], proceed: Proceed) -> Evidence:
    """Return all evidence that the claims need.

    Args:
        client: the client of the service.
        jobs: the jobs of the article's sweeps; all have succeeded.
        proceed: called before each request; see `Proceed`.
    """
    # The rescue curve is the one sweep with schedules. Its cell without one is cross-entropy from the start.
    rescuing = {job.sweep_id for job in jobs if job.spec.get("schedule")}
    runs = [_run(client, job, proceed) for job in jobs if job.sweep_id not in rescuing]
    rescues = [_rescue(client, job, proceed) for job in jobs if job.sweep_id in rescuing]
    evidence = Evidence(runs, {}, rescues)
    comparisons = {}
    for start in _NETWORK_STARTS:
        for pair in evidence.pairs(start):
            proceed()
            comparisons[start, pair[0].seed] = client.compare_diagnosis([run.job.id for run in pair])
    return Evidence(runs, comparisons, rescues)


def draw(client: Client, claims: Iterable[Claim], evidence: Evidence, proceed: Proceed) -> list[Picture]:
    """Return the pictures of all claims. The service draws all but those with a function of their own."""
    pictures = []
    for claim in claims:
        for plot in claim.plots:
            proceed()
            jobs = [run.job for run in plot.runs(evidence)]
            svg = plot.svg(evidence) if plot.svg is not None else _drawn(client, plot, jobs)
            pictures.append(Picture(plot.name, plot.title, [job.id for job in jobs], svg))
    return pictures


def _drawn(client: Client, plot: Plot, jobs: Sequence[Job]) -> bytes:
    """Return the plot as SVG, with a line per job or cell.

    More than 6 jobs are several seeds of a sweep's cells; then each cell is drawn with a band.
    """
    if len(jobs) <= _MOST_LINES:
        return client.plot([job.id for job in jobs], metrics=plot.metrics, log=plot.log, title=plot.title)
    ((sweep_id, cells),) = _cells_by_sweep(jobs).items()
    return client.plot_sweep(sweep_id, cells=cells, metrics=plot.metrics, log=plot.log, title=plot.title)


def _cells_by_sweep(jobs: Sequence[Job]) -> dict[str, list[int]]:
    cells: dict[str, list[int]] = {}
    for job in jobs:
        if job.sweep_id is not None and job.cell is not None and job.cell not in cells.setdefault(job.sweep_id, []):
            cells[job.sweep_id].append(job.cell)
    return cells


def _run(client: Client, job: Job, proceed: Proceed) -> Run:
    proceed()
    epochs = client.curve(job.id)
    by_steps = job.spec["experiment"] == "mnist"
    steps = client.curve(job.id, granularity="step") if by_steps else epochs
    return Run(job, epochs, steps, client.diagnosis(job.id))


def _rescue(client: Client, job: Job, proceed: Proceed) -> Rescue:
    proceed()
    return Rescue(job, client.curve(job.id, metrics="accuracy"))
