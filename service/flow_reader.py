"""Figures of a training's flow: what each layer passes on and how much it changes, epoch by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from costcurve.core.job import Job
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec
from costcurve.store import JobStore
from costcurve.store.curve_chunks import Start
from service.curve_reader import Reading

# Columns of a heat map; of a longer training equally distant points are read.
MOST_COLUMNS = 300
# x of the figures before the first update, which are not part of a network's curve.
START = -1

# The metrics of a network's layers, and of its output for each loss.
_OF_LAYERS = ("mean_sigmoid_prime", "gradient_norm", "update_ratio")
_OF_LOSSES = "output_delta"
_LOSSES = ("quadratic", "cross_entropy")
_OF_NEURON = ("output", "weight", "gradient", "sigmoid_prime")

Row = Sequence[float]


@dataclass(frozen=True, slots=True)
class Flow:
    """Figures at some points of a training: `layers[metric][k]` is a row of layer k + 1, and `losses[loss]` a row.

    A row has a value for each x, NaN if it was not recorded. x is START before the first update of a network. One of
    `every` points of the curve is there. Values in `losses` are the mean |δ| that each loss would pass down.
    """

    x: Sequence[int]
    every: int
    layers: Mapping[str, Sequence[Row]]
    losses: Mapping[str, Row]


def read_flow(store: JobStore, job_id: str) -> tuple[Job, Flow]:
    """Read a job and its flow, at MOST_COLUMNS points and the start at most."""
    with store.read_transaction() as seen:
        job = seen.get(job_id)
        curve = Reading(seen, [job.id])
        wanted = _metrics(job.spec)
        recorded = [metric for metric in wanted if metric in curve.known[0]]
        curve = curve.part([0], recorded) if recorded else curve
        curve.load()
        start = seen.start(job.id) if isinstance(job.spec, MnistSpec) else None
    every = -(-curve.total_points // MOST_COLUMNS) or 1
    # Counted from the last point, which is always there.
    numbers = np.arange(max(curve.ends) - 1, curve.start - 1, -every, dtype=np.int64)[::-1]
    [found] = curve.values_at(numbers)
    length = len(numbers)
    columns = {name: [nan if each is None else each for each in found.get(name, [None] * length)] for name in wanted}
    x = numbers.tolist()
    if start is not None:
        x, columns = [START, *x], {name: [_at_start(start, name), *column] for name, column in columns.items()}
    of_spec = _neuron_rows(job.spec, columns) if isinstance(job.spec, NeuronSpec) else _network_rows(job.spec, columns)
    return job, Flow(x, every, *of_spec)


def _metrics(spec: AnySpec) -> list[str]:
    if isinstance(spec, NeuronSpec):
        return list(_OF_NEURON)
    layers = range(1, len(spec.layers))
    return [f"{name}.{layer}" for name in _OF_LAYERS for layer in layers] + [f"{_OF_LOSSES}.{loss}" for loss in _LOSSES]


def _at_start(start: Start, name: str) -> float:
    value = start.get(name)
    return nan if value is None else value


def _network_rows(spec: MnistSpec, columns: Mapping[str, Row]) -> tuple[Mapping[str, Sequence[Row]], Mapping[str, Row]]:
    layers = range(1, len(spec.layers))
    of_layers = {name: [columns[f"{name}.{layer}"] for layer in layers] for name in _OF_LAYERS}
    return of_layers, {loss: columns[f"{_OF_LOSSES}.{loss}"] for loss in _LOSSES}


def _neuron_rows(spec: NeuronSpec, columns: Mapping[str, Row]) -> tuple[Mapping[str, Sequence[Row]], Mapping[str, Row]]:
    """Return the same figures of the one layer that a neuron is, from its recorded metrics."""
    output, weight, gradient, slope = (np.array(columns[name], dtype=np.float64) for name in _OF_NEURON)
    norm, error = np.abs(gradient), np.abs(output - spec.target)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = spec.learning_rate * norm / np.abs(weight)
    of_layers = dict(zip(_OF_LAYERS, ([slope.tolist()], [norm.tolist()], [ratio.tolist()]), strict=True))
    return of_layers, {"quadratic": (error * slope).tolist(), "cross_entropy": error.tolist()}
