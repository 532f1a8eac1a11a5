"""Evidence for the article's claims, as it would be if the article were right in everything; tests then alter it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from costcurve import Curve, Job
from costcurve.article.evidence import Evidence, Rescue, Run, Start
from costcurve.client.diagnosis import Diagnosis
from costcurve.core.losses import ARTICLE_LOSSES, Loss
from costcurve.core.presets import RESCUE_EPOCHS

INITS = {
    Start.GOOD: {"scheme": "constant", "weight": 0.6, "bias": 0.9},
    Start.BAD: {"scheme": "constant", "weight": 2.0, "bias": 2.0},
    Start.ORDINARY: {"scheme": "normal", "std": 1.0, "output_bias": 0.0},
    Start.WRONG_OUTPUTS: {"scheme": "normal", "std": 1.0, "output_bias": 10.0},
    Start.SATURATED_HIDDEN: {"scheme": "normal", "std": [10.0, 1.0], "output_bias": 0.0},
    Start.SCALED: {"scheme": "scaled_normal", "output_bias": 0.0},
}
SEEDS = range(3)


def spec_of(start: Start, loss: Loss, seed: int = 0, *, at_equal_rate: bool = False) -> dict:
    neuron = {"experiment": "neuron", "input": 1.0, "target": 0.0, "reduction": "sum_outputs"}
    mnist = {
        "experiment": "mnist",
        "layers": [784, 30, 10],
        "reduction": "sum_outputs" if loss == "quadratic" or at_equal_rate else "mean_outputs",
    }
    return {
        **(neuron if start in (Start.GOOD, Start.BAD) else mnist),
        "loss": loss,
        "init": INITS[start],
        "seed": seed,
        "effective_learning_rate": 3.0,
    }


def diagnosis(codes: Iterable[str] = (), start: Mapping[str, float] | None = None) -> Diagnosis:
    findings = [{"code": code, "severity": "info", "statement": "", "evidence": {}} for code in codes]
    return Diagnosis.model_validate({"summary": "", "findings": findings, "start": start})


def rescue(from_epoch: int, seed: int, *, before: float = 0.1, at_the_end: float = 0.9) -> Rescue:
    """One that stands still until cross-entropy takes over."""
    spec = spec_of(Start.WRONG_OUTPUTS, "quadratic", seed)
    spec["schedule"] = [{"from_epoch": from_epoch, "loss": "cross_entropy"}] if from_epoch else []
    accuracy = [before] * from_epoch + [at_the_end] * (RESCUE_EPOCHS - from_epoch)
    return Rescue(_job(spec, {"best_correct": 9000}), _curve({"accuracy": accuracy}))


def _job(spec: dict, result: dict) -> Job:
    """One that has succeeded."""
    progress = {"epoch": 1, "epochs": 1, "step": 1, "steps": 1, "fraction": 1.0}
    return Job.model_validate(
        {
            "id": f"job_{spec['experiment']}_{spec['loss']}_{spec['seed']}_{len(str(spec['init']))}",
            "status": "succeeded",
            "is_terminal": True,
            "spec": spec,
            "progress": progress,
            "engine": "autograd",
            "device": "cpu",
            "result": {"train_seconds": 1.0, **result},
            "created_at": "2026-01-01T00:00:00Z",
            "version": 1,
        }
    )


def _curve(series: Mapping[str, Sequence[float | None]]) -> Curve:
    points = len(next(iter(series.values())))
    return Curve(job_id="job_1", x=list(range(points)), series=dict(series), total_points=points, next_from=points)


def neuron(start: Start, loss: Loss, codes: Iterable[str] = ()) -> Run:
    """Trained as the article does it: input 1, target 0, learning rate 0.15, 300 updates."""
    weight, bias = INITS[start]["weight"], INITS[start]["bias"]
    points = []
    for _ in range(301):
        output = 1 / (1 + math.exp(-(weight + bias)))
        slope = output * (1 - output)
        delta = output * slope if loss == "quadratic" else output
        cost = output**2 / 2 if loss == "quadratic" else -math.log(1 - output)
        points.append({"output": output, "cost": cost, "gradient": delta, "slowdown_factor": 1 / slope})
        weight, bias = weight - 0.15 * delta, bias - 0.15 * delta
    curve = _curve({name: [point[name] for point in points] for name in points[0]})
    return Run(_job(spec_of(start, loss), {"final_output": output}), curve, curve, diagnosis(codes))


def network(
    start: Start,
    loss: Loss,
    seed: int,
    correct: Sequence[int],
    *,
    codes: Iterable[str] = (),
    slowdown: float = 9.5,
    saturated_start: float = 0.0,
    at_equal_rate: bool = False,
) -> Run:
    """One whose costs follow from how many images it reads, and whose outputs saturate after the first epoch."""
    epochs = _curve(
        {
            "correct": correct,
            "accuracy": [count / 10_000 for count in correct],
            "cost": [0.5 - count / 25_000 for count in correct],
            "test_cost": [0.42 - count / 25_000 for count in correct],
            "saturated_fraction.2": [0.75, *[0.9] * (len(correct) - 1)],
        }
    )
    steps = _curve({"cost": [0.4, 0.2], "cost_min": [0.1, 0.0], "cost_max": [0.9, 0.7]})
    figures = {"slowdown_factor": slowdown, "saturated_fraction.2": saturated_start}
    job = _job(spec_of(start, loss, seed, at_equal_rate=at_equal_rate), {"best_correct": max(correct)})
    return Run(job, epochs, steps, diagnosis(codes, figures))


def _networks(seed: int) -> Iterable[Run]:
    learning = ["saturated_but_learning"]
    # Cross-entropy is ahead by another figure with each seed.
    yield network(Start.ORDINARY, "quadratic", seed, [8900, 9200, 9500])
    yield network(Start.ORDINARY, "cross_entropy", seed, [9050 + seed, 9400, 9550 + seed], codes=learning)
    bad = {"slowdown": 900.0, "saturated_start": 0.99}
    yield network(Start.WRONG_OUTPUTS, "quadratic", seed, [900, 900, 900, 9400], **bad)
    yield network(Start.WRONG_OUTPUTS, "cross_entropy", seed, [8950, 9100, 9400, 9400], **bad)
    for loss in ARTICLE_LOSSES:
        yield network(Start.SATURATED_HIDDEN, loss, seed, [6000, 7000, 8500], codes=["hidden_layer_slow"])
        yield network(Start.SCALED, loss, seed, [9300, 9500, 9600])
    equal = {"at_equal_rate": True}
    yield network(Start.ORDINARY, "cross_entropy", seed, [9000, 9400, 9500], **equal)
    yield network(
        Start.SATURATED_HIDDEN, "cross_entropy", seed, [7000, 8500, 9000], codes=["hidden_layer_slow"], **equal
    )


def as_the_article_says(seeds: Iterable[int] = SEEDS) -> Evidence:
    neurons = [
        neuron(Start.GOOD, "quadratic"),
        neuron(Start.GOOD, "cross_entropy"),
        neuron(Start.BAD, "quadratic", ["output_saturated_quadratic", "plateau"]),
        neuron(Start.BAD, "cross_entropy", ["saturated_but_learning"]),
    ]
    comparisons = {}
    for seed in seeds:
        comparisons[Start.ORDINARY, seed] = diagnosis(["loss_and_rate_make_no_difference"])
        comparisons[Start.WRONG_OUTPUTS, seed] = diagnosis(["loss_and_rate_make_the_difference"])
    rescues = [rescue(epoch, seed) for epoch in range(RESCUE_EPOCHS) for seed in seeds]
    return Evidence([*neurons, *(run for seed in seeds for run in _networks(seed))], comparisons, rescues)


def with_series(
    evidence: Evidence,
    start: Start,
    loss: Loss,
    seeds: Iterable[int] = SEEDS,
    *,
    at_equal_rate: bool = False,
    **series: Sequence[float | None],
) -> Evidence:
    """The same, but for these columns of some runs' curves by epochs; `__` in a name stands for a dot."""
    columns = {name.replace("__", "."): list(values) for name, values in series.items()}

    def altered(run: Run) -> Run:
        if (run.start, run.loss, run.at_equal_rate) != (start, loss, at_equal_rate) or run.seed not in seeds:
            return run
        epochs = run.epochs.model_copy(update={"series": {**run.epochs.series, **columns}})
        return replace(run, epochs=epochs)

    return replace(evidence, runs=[altered(run) for run in evidence.runs])


def with_diagnosis(evidence: Evidence, start: Start, loss: Loss, found: Diagnosis) -> Evidence:
    """The same, but for the diagnosis of some runs, at whatever rate."""
    runs = [replace(run, diagnosis=found) if (run.start, run.loss) == (start, loss) else run for run in evidence.runs]
    return replace(evidence, runs=runs)
