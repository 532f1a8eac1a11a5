"""What a spec will cost, and what is odd about it, before it is queued."""

from dataclasses import dataclass

from jobs.inits import ConstantInit, NormalInit, ZerosInit
from jobs.spec import PIXELS, AnySpec, NeuronSpec, parameter_count, training_memory_bytes

# Seconds on one core of the reference engine, from benchmarks/records/steps.md. A step pays a fixed overhead and its
# multiply-adds (forward, and about twice that backward); an epoch ends in a forward pass over 15,000 images.
_NEURON_STEP_SECONDS = 62e-6
_MNIST_STEP_SECONDS = 100e-6
_MULTIPLY_ADDS_PER_SECOND = 3e10
_EVALUATED_IMAGES = 15_000

_DATASET_BYTES = 4 * 70_000 * PIXELS
_NEURON_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SpecWarning:
    """Something a client should know before submitting; `code` is stable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one job on one CPU core: seconds of training, and bytes of memory including the data set."""

    total_steps: int
    seconds: float
    memory_bytes: int


def estimate(spec: AnySpec) -> Estimate:
    """What training this spec should cost with the reference engine on one core."""
    steps = spec.total_steps
    if isinstance(spec, NeuronSpec):
        return Estimate(steps, steps * _NEURON_STEP_SECONDS, _NEURON_BYTES)
    parameters = parameter_count(spec.layers)
    step_seconds = _MNIST_STEP_SECONDS + 3 * parameters * spec.batch_size / _MULTIPLY_ADDS_PER_SECOND
    epoch_seconds = parameters * _EVALUATED_IMAGES / _MULTIPLY_ADDS_PER_SECOND
    memory = _DATASET_BYTES + training_memory_bytes(spec.layers, spec.batch_size)
    return Estimate(steps, steps * step_seconds + spec.epochs * epoch_seconds, memory)


def warnings(spec: AnySpec) -> tuple[SpecWarning, ...]:
    """What is legal but rarely meant."""
    found = []
    if not isinstance(spec, NeuronSpec) and len(spec.layers) > 2 and _is_symmetric(spec.init):
        found.append(
            SpecWarning(
                "symmetric_init",
                "All units of a hidden layer start alike and receive the same gradient, so they stay alike: "
                "the layer works as a single unit. Take a random init.",
            )
        )
    return tuple(found)


def _is_symmetric(init: object) -> bool:
    if isinstance(init, NormalInit):
        stds = init.std if isinstance(init.std, tuple) else (init.std,)
        return all(std == 0 for std in stds)
    return isinstance(init, ConstantInit | ZerosInit)
