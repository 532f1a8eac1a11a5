"""Cost estimate for a spec, before its job is queued."""

from dataclasses import dataclass

from costcurve.core.curve import STEPS_A_POINT, metrics_of
from costcurve.core.datasets import MNIST
from costcurve.core.spec import AnySpec, NeuronSpec, parameter_count, training_memory_bytes

# Speeds of the engines that `auto` selects on one CPU core with the compiled engine (benchmarks/records/engines.md).
# Without the compiled engine training takes 10 to 40 times as long.
# An MNIST step costs a fixed overhead and its multiply-adds. The backward pass costs as much as the forward pass in the
# first layer, and twice as much after it. The first layer counts only the pixels that are not zero. An epoch ends with
# a forward pass over 15,000 images, and with the diagnosis: both passes over 1,000.
_NEURON_STEP_SECONDS = 30e-6
_MNIST_STEP_SECONDS = 0.5e-6
_SPARSE_MULTIPLY_ADDS_PER_SECOND = 2e10
_DENSE_MULTIPLY_ADDS_PER_SECOND = 3e10
_INK = 150  # pixels of an image that are not zero
_EVALUATED_IMAGES = MNIST.validation_size + MNIST.test_size
_DIAGNOSED_IMAGES = 1_000

_DATASET_BYTES = 4 * MNIST.size * MNIST.pixels
_NEURON_BYTES = 1 << 20
_POINT_BYTES = 8
_WEIGHT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimated cost of one job on one CPU core.

    `seconds` is training time. `memory_bytes` includes the data set.
    """

    total_steps: int
    seconds: float
    memory_bytes: int


def estimate(spec: AnySpec) -> Estimate:
    """Estimate the cost of training this spec alone on one core.

    The engine is the one that `auto` selects on a CPU.
    """
    steps = spec.total_steps
    if isinstance(spec, NeuronSpec):
        return Estimate(steps, steps * _NEURON_STEP_SECONDS, _NEURON_BYTES)
    sparse = _INK * spec.layers[1] / _SPARSE_MULTIPLY_ADDS_PER_SECOND
    dense = parameter_count(spec.layers[1:]) / _DENSE_MULTIPLY_ADDS_PER_SECOND
    step_seconds = _MNIST_STEP_SECONDS + spec.batch_size * (2 * sparse + 3 * dense)
    diagnosed = 2 * parameter_count(spec.layers) / _DENSE_MULTIPLY_ADDS_PER_SECOND
    epoch_seconds = _EVALUATED_IMAGES * (sparse + dense) + _DIAGNOSED_IMAGES * diagnosed
    memory = _DATASET_BYTES + training_memory_bytes(spec.layers, spec.batch_size)
    return Estimate(steps, steps * step_seconds + spec.epochs * epoch_seconds, memory)


def stored_bytes(spec: AnySpec) -> int:
    """Estimate the bytes of the curves and the model that the job will store, before compression."""
    points = spec.epochs * len(metrics_of(spec))
    if isinstance(spec, NeuronSpec):
        return _POINT_BYTES * points
    points += spec.total_steps // STEPS_A_POINT * len(metrics_of(spec, "step"))
    return _POINT_BYTES * points + _WEIGHT_BYTES * parameter_count(spec.layers)
