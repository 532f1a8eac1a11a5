"""The article's story as the demo tells it: which jobs, which pictures, which table."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from costcurve.cli.formatting import duration, figure, init_text
from costcurve.client.client import Client
from costcurve.client.types import Curve, Job

# The article's own remarks, worth a minute each; the first look does without them.
ONLY_WITH_ALL = frozenset({"mnist-slow-hidden", "mnist-scaled-init"})


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot of one preset's job, or of several on the same axes."""

    name: str
    presets: tuple[str, ...]
    metrics: str
    title: str


# The output stands on an axis from 0 to 1 in every plot, so that the neurons can be compared: the costs of two losses
# have units of their own.
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
        "MNIST started badly wrong: cross-entropy is the cure",
    ),
)


def summary(client: Client, jobs: Mapping[str, Job]) -> Table:
    """One row for each job that succeeded: where it started, and where it ended."""
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
