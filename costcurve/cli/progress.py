"""Progress of running jobs and sweeps: bars on a terminal, lines elsewhere."""

import time
from collections.abc import Callable, Mapping
from math import ceil
from typing import Protocol, Self, TextIO

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from costcurve.cli.formatting import duration, figure, outcome, short_result, standing
from costcurve.cli.output import PlainConsole
from costcurve.client.client import Client
from costcurve.client.sweep_types import (
    Sweep,
)
from costcurve.client.types import (
    Job,
)
from costcurve.core.text import printable

_LINE_SECONDS = 3.0
_WIDTH_FOR_BARS = 96

Figures = Mapping[str, float]


class Display(Protocol):
    """Display of the progress of jobs and sweeps, each under a label."""

    def show(self, label: str, job: Job, figures: Figures) -> None:
        """Show the job's current state and its newest figures."""

    def show_sweep(self, label: str, sweep: Sweep) -> None:
        """Show how many jobs of the sweep are in each state."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def display_on(stream: TextIO, *, transient: bool = False) -> Display:
    """Return a display for the stream: bars on a terminal, otherwise lines.

    Args:
        stream: where to show the progress.
        transient: whether bars are removed at the end.
    """
    return Bars(stream, transient=transient) if stream.isatty() else Lines(stream)


def latest_figures(client: Client, job: Job) -> Figures:
    """Return the newest cost, and the newest accuracy (MNIST) or output (neuron).

    The mapping is empty before the end of the first epoch. A value that is not finite is left out.
    """
    neuron = job.spec.get("experiment") == "neuron"
    # A neuron's curve has a point 0 before any update; the curve of mnist has point 0 after the first epoch.
    newest = job.progress.epoch if neuron else job.progress.epoch - 1
    if job.progress.epoch == 0:
        return {}
    curve = client.curve(job.id, ("cost", "output" if neuron else "accuracy"), first=newest, last=newest)
    return {metric: values[0] for metric, values in curve.series.items() if values and values[0] is not None}


class Bars:
    """A progress bar for each job, redrawn in place.

    A terminal of fewer than 96 columns shows only the figures: a bar would push them out of the line.
    """

    def __init__(self, stream: TextIO, *, transient: bool) -> None:
        console = PlainConsole(stream)
        whole = Column(no_wrap=True)
        bar = [BarColumn(bar_width=16)] if console.width >= _WIDTH_FOR_BARS else []
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=whole),
            *bar,
            TextColumn("{task.fields[state]}", markup=False, table_column=whole),
            console=console,
            transient=transient,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, label: str, job: Job, figures: Figures) -> None:
        """Move the job's bar, and show its state next to it."""
        state = f"{job.status} {short_result(job)}" if job.is_terminal else _state(job, figures)
        self._move(label, job.progress.step, job.progress.steps, state)

    def show_sweep(self, label: str, sweep: Sweep) -> None:
        """Move the sweep's bar, and show its counts next to it."""
        self._move(label, sweep.ended, sweep.total, standing(sweep))

    def _move(self, label: str, done: int, of: int, state: str) -> None:
        if label not in self._tasks:
            self._tasks[label] = self._progress.add_task(printable(label), state="")
        self._progress.update(self._tasks[label], total=of, completed=done, state=printable(state))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()


class Lines:
    """A line for each job and sweep when its state changes.

    A change of the status is written at once, other changes at most every 3 seconds.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last: dict[str, tuple[str, str, float]] = {}

    def show(self, label: str, job: Job, figures: Figures) -> None:
        """Write a line for the job if its state is new."""
        self._tell(label, job.status, _state(job, figures))

    def show_sweep(self, label: str, sweep: Sweep) -> None:
        """Write a line for the sweep if its counts are new."""
        self._tell(label, "ended" if sweep.is_terminal else "open", standing(sweep))

    def _tell(self, label: str, status: str, state: str) -> None:
        now = self._clock()
        if label in self._last:
            before, shown, moment = self._last[label]
            if state == shown or (status == before and now - moment < _LINE_SECONDS):
                return
        self._last[label] = (status, state, now)
        self._stream.write(f"{printable(label)}  {printable(state)}\n")
        self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


def _state(job: Job, figures: Figures) -> str:
    if job.status != "running":
        return outcome(job)
    parts = [f"epoch {job.progress.epoch}/{job.progress.epochs}"]
    parts += [f"{name} {figure(name, value, digits=4)}" for name, value in figures.items()]
    if job.progress.eta_seconds is not None:
        parts.append(f"{duration(ceil(job.progress.eta_seconds))} left")
    return "  ".join(parts)
