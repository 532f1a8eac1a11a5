"""Accuracy that a sound network of a given shape reaches on MNIST after a given number of updates.

A regression on the best points of rate sweeps, over jobs of 1,000 to 150,000 updates; benchmarks/records/diagnosis.md
has its errors. So the expectation needs no refit by the length of a job.
"""

from math import exp, log10

from costcurve.core.spec import MnistSpec

# The range of updates that the regression saw.
FEWEST_UPDATES, MOST_UPDATES = 1_000, 150_000
# Sound widths. The expectation of a narrower network is that of one this wide: a narrow layer is a fault.
_LEAST_WIDTH, _MOST_WIDTH = 15, 150


def expected_accuracy(spec: MnistSpec, updates: int) -> float:
    """Return the accuracy that this spec is expected to reach if nothing is wrong with it.

    Args:
        spec: its layers, batch size, loss and scheme of initialization count; its learning rate does not.
        updates: updates made; the value at the end of the fitted range is taken beyond it.
    """
    length = log10(min(max(updates, FEWEST_UPDATES), MOST_UPDATES)) - 3.7
    batch = log10(min(max(spec.batch_size, 5), 100)) - 1
    hidden = spec.layers[1:-1]
    width = log10(min(max(min(hidden, default=_LEAST_WIDTH), _LEAST_WIDTH), _MOST_WIDTH)) - 1.5
    is_normal, is_xavier = spec.init.scheme == "normal", spec.init.scheme == "xavier"
    is_quadratic = spec.loss == "quadratic"
    exponent = (
        -2.816
        - 0.518 * length
        + 0.084 * length**2
        - 0.407 * batch
        - 0.636 * width
        - 0.033 * length * batch
        + 0.074 * (len(hidden) > 1)
        + 0.285 * is_normal
        + 0.014 * is_xavier
        + 0.098 * is_quadratic
        + 0.038 * (is_normal and is_quadratic)
        - 0.28 * length * width
    )
    return 1 - exp(exponent)
