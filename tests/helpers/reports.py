"""What a worker of the store's tests can train on, and what it reports."""

from costcurve.core.curve import Curve
from costcurve.core.job import EngineChoice, EngineSelector, MnistResult, NeuronResult, Progress
from costcurve.core.model_file import Mistake, TrainedModel

ENGINES = ("auto", "autograd")
CPU = {"auto": "cpu", "cpu": "cpu"}
RESULT = NeuronResult(final_cost=0.5, train_seconds=1.0, final_output=0.1, final_weight=-1.0, final_bias=-1.0)


def choose(at_once: int = 1) -> EngineSelector:
    """The reference engine for everything, so many jobs at once."""
    return lambda _spec, _requested, _device: EngineChoice("autograd", at_once)


def mnist_result(best: int) -> MnistResult:
    return MnistResult(
        final_cost=0.1,
        train_seconds=1.0,
        final_correct=best,
        final_accuracy=best / 10_000,
        test_size=10_000,
        best_correct=best,
        best_accuracy=best / 10_000,
        best_epoch=0,
        epochs_trained=1,
        weights_sha256="0" * 64,
    )


def progress(step: int) -> Progress:
    return Progress(epoch=step, epochs=300, step=step, steps=300, eta_seconds=1.5)


def steps(start: int, *values: float) -> Curve:
    """Points of a network's steps, the first for the steps from start · STEPS_A_POINT on."""
    return Curve(start, {"cost": list(values), "cost_min": list(values), "cost_max": [2 * value for value in values]})


def points(start: int, *values: float) -> Curve:
    return Curve(start, {"cost": list(values), "output": [-value for value in values]})


def model(file: bytes = b"weights") -> TrainedModel:
    """Two mistakes among ten images."""
    confusion = tuple(tuple(int(row == column) for column in range(10)) for row in range(10))
    mistakes = [
        Mistake(
            image=7, label=2, prediction=7, cost=1 / 3, outputs=(0.1,) * 10, pixels=bytes(range(256)) * 3 + b"0" * 16
        ),
        Mistake(image=3, label=0, prediction=1, cost=0.25, outputs=(5e-324,) * 10, pixels=b"\xff" * 784),
    ]
    return TrainedModel(file, confusion, tuple(mistakes))
