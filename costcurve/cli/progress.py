"""Jobs and sweeps while they run: bars on a terminal, now and then a line anywhere else."""

import time
from collections.abc import Callable, Mapping
from math import ceil
from typing import Protocol, Self, TextIO

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from costcurve.cli.formatting import duration, figure, outcome, short_result, standing
from costcurve.cli.output import PlainConsole
from costcurve.client.client import Client
from costcurve.client.types import Job, Sweep
from costcurve.core.text import printable

_LINE_SECONDS = 3.0
_WIDTH_FOR_BARS = 96

Figures = Mapping[str, float]


class Display(Protocol):
    """Shows how jobs and sweeps stand, each under a label."""

    def show(self, label: str, job: Job, figures: Figures) -> None:
        """Show the job's present state and its latest figures."""

    def show_sweep(self, label: str, sweep: Sweep) -> None:
        """Show in which states the sweep's jobs are."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


def display_on(stream: TextIO, *, transient: bool = False) -> Display:
    """The display that suits what the stream leads to; bars that are `transient` are wiped out at the end."""
    return Bars(stream, transient=transient) if stream.isatty() else Lines(stream)


def latest_figures(client: Client, job: Job) -> Figures:
    """Cost, and accuracy or output, as of the job's progress; nothing before its first epoch is over."""
    neuron = job.spec.get("experiment") == "neuron"
    # A neuron's curve counts the updates made, mnist's the finished epochs from 0.
    newest = job.progress.epoch if neuron else job.progress.epoch - 1
    if job.progress.epoch == 0:
        return {}
    curve = client.curve(job.id, ("cost", "output" if neuron else "accuracy"), first=newest, last=newest)
    return {metric: values[0] for metric, values in curve.series.items() if values and values[0] is not None}


class Bars:
    """A bar for each job, drawn over and over in the same place; the figures alone where a bar would push them out."""

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
        """Move the job's bar."""
        state = f"{job.status} {short_result(job)}" if job.is_terminal else _state(job, figures)
        self._move(label, job.progress.step, job.progress.steps, state)

    def show_sweep(self, label: str, sweep: Sweep) -> None:
        """Move the sweep's bar."""
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
    """A line for each job and sweep when its status changes, and every few seconds while there is news."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._last: dict[str, tuple[str, str, float]] = {}

    def show(self, label: str, job: Job, figures: Figures) -> None:
        """Write a line, unless the last one says the same, or is fresh enough."""
        self._tell(label, job.status, _state(job, figures))

    def show_sweep(self, label: str, sweep: Sweep) -> None:
        """Write a line, unless the last one says the same, or is fresh enough."""
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
