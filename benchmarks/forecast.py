"""Errors of the forecast: the start that it expects against the start that a worker measures.

Three inits, four widths, three output biases and ten seeds; neurons; and how long `:validate` takes.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import torch

from benchmarks import record
from costcurve import Client
from costcurve.analysis.forecast.mean_field import mean_field_figures
from costcurve.analysis.forecast.network_start import drawn_figures
from costcurve.analysis.forecast.neuron_course import simulated
from costcurve.analysis.forecast.sample import stored_sample
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import LocalService
from costcurve.core.curve import Curve
from costcurve.core.spec import MnistSpec, NeuronSpec
from workers.engines import autograd
from workers.training.diagnostics import diagnosed_images, diagnosis
from workers.training.network import ImageSets, initial_network

CPU = torch.device("cpu")
INITS, WIDTHS, BIASES = ("normal", "scaled_normal", "xavier"), (10, 30, 100, 300), (0.0, 5.0, 10.0)
BOUND = 0.2


def specs(
    inits: Sequence[str], widths: Sequence[int], biases: Sequence[float], seeds: Sequence[int]
) -> Iterator[MnistSpec]:
    """Yield a spec of each combination."""
    for scheme, width, bias, seed in product(inits, widths, biases, seeds):
        init = {"scheme": scheme, "output_bias": bias}
        fields = {"loss": "quadratic", "layers": [784, width, 10], "init": init, "seed": seed}
        yield MnistSpec.model_validate({"experiment": "mnist", **fields})


def measured(spec: MnistSpec, images: ImageSets) -> Mapping[str, float]:
    """Return the figures that a worker measures before the first update."""
    return diagnosis(initial_network(spec, CPU), diagnosed_images(images), spec)


def errors(expected: Mapping[str, float], found: Mapping[str, float]) -> dict[str, float]:
    """Return the relative error of each expected figure, and the absolute error of saturated fractions."""
    return {
        name: abs(value - found[name]) / (1 if name.startswith("saturated") else found[name])
        for name, value in expected.items()
    }


def within(found: Sequence[float]) -> float:
    """Return the share of errors of at most BOUND."""
    return sum(error <= BOUND for error in found) / len(found)


def main() -> None:
    """Compare, time and write the record."""
    from engines import load_images  # scripts of this folder import each other without it; tests import this one

    torch.set_num_threads(1)
    images, sample = load_images(), stored_sample()
    drawn, mean_field = {}, {}
    for spec in specs(INITS, WIDTHS, BIASES, range(10)):
        found = measured(spec, images)
        drawn[spec] = errors(drawn_figures(spec, sample), found)
        mean_field[spec] = errors(mean_field_figures(spec, sample), found)
    text = [
        f"{len(drawn)} networks: {', '.join(INITS)}; {', '.join(map(str, WIDTHS))} hidden units; output bias "
        f"{', '.join(f'{bias:g}' for bias in BIASES)}; seeds 0 to 9; quadratic loss. Measured over the first 1,000 "
        f"training images, expected over the {len(sample.pixels)} that are stored with the package. Errors are "
        "relative; those of saturated fractions are absolute.",
        "",
        *of_figures({"the drawn weights": drawn, "mean field": mean_field}),
        "",
        "The slowdown factor from the drawn weights:",
        "",
        *of_starts(drawn),
        "",
        *neurons(),
        "",
        *times(),
    ]
    record.write("forecast", "Errors and time of the forecast", text)


def of_figures(by_method: Mapping[str, Mapping[MnistSpec, Mapping[str, float]]]) -> list[str]:
    """Return a table of the errors of each figure."""
    rows = []
    for method, of_specs in by_method.items():
        for name in next(iter(of_specs.values())):
            each = [found[name] for found in of_specs.values()]
            rows.append([method, name, f"{within(each):.1%}", f"{median(each):.2%}", f"{max(each):.1%}"])
    return record.table(["from", "figure", f"within {BOUND:.0%}", "median error", "largest error"], rows)


def of_starts(drawn: Mapping[MnistSpec, Mapping[str, float]]) -> list[str]:
    """Return a table of the errors of the slowdown factor for each init and output bias."""
    rows = []
    for scheme, bias in product(INITS, BIASES):
        each = [
            found["slowdown_factor"]
            for spec, found in drawn.items()
            if (spec.init.scheme, spec.init.output_bias) == (scheme, bias)
        ]
        rows.append([scheme, f"{bias:g}", f"{within(each):.1%}", f"{median(each):.2%}", f"{max(each):.1%}"])
    return record.table(["init", "output bias", f"within {BOUND:.0%}", "median error", "largest error"], rows)


def neurons() -> list[str]:
    """Compare simulated neurons with the reference engine."""
    largest, count = 0.0, 0
    for loss, weight, rate in product(("quadratic", "cross_entropy"), (0.6, 2.0, 5.0), (0.15, 1.0, 20.0)):
        init = {"scheme": "constant", "weight": weight, "bias": weight}
        spec = NeuronSpec.model_validate({"experiment": "neuron", "loss": loss, "learning_rate": rate, "init": init})
        _, course = simulated(spec)
        curve = Curve.joined(report.curve for report in autograd.train_neuron(spec, device=CPU))
        trained = curve.series["output"][-1]
        largest, count = max(largest, abs(course.final_output - trained) / trained), count + 1
    return [f"{count} simulated neurons, 300 updates each: the final output differs by {largest:.1g} at most."]


def times() -> list[str]:
    """Time `POST /v1/jobs:validate` of a running service, each request with another seed."""
    cases: dict[str, dict[str, object]] = {
        "the default network": {},
        "[784, 300, 10]": {"layers": [784, 300, 10]},
        "[784, 2000, 10], mean field": {"layers": [784, 2000, 10]},
        "neuron, 300 epochs": {"experiment": "neuron"},
        "neuron, 1,000,000 epochs": {"experiment": "neuron", "epochs": 1_000_000},
    }
    rows = []
    with (
        tempfile.TemporaryDirectory() as home,
        LocalService(home=Path(home), port=0, workers=1) as local,
        Client(local.url) as client,
    ):
        local.wait_until_ready(Interruption())
        while not client.workers():  # until then the worker that starts takes the processor
            sleep(0.1)
        for name, fields in cases.items():
            base = {} if "experiment" in fields else {"experiment": "mnist"}
            taken = []
            for seed in range(31):
                started = perf_counter()
                client.validate({**base, **fields, "seed": seed})
                taken.append(1000 * (perf_counter() - started))
            rows.append([name, f"{taken[0]:.1f}", f"{median(taken[1:]):.1f}", f"{max(taken[1:]):.1f}"])
    return [
        "Milliseconds of `:validate`, as a client sees them:",
        "",
        *record.table(["spec", "first", "median of 30", "longest"], rows),
    ]


if __name__ == "__main__":
    main()
