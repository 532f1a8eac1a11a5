"""Batches of any size: a weight is moved by the sum of a batch, and no sample's share of it is lost in rounding.

Added to a weight one by one, samples move it by less than its last digit, and most of a large batch is lost.
"""

import pytest

from costcurve.core.spec import MnistSpec
from tests.engines.conftest import compiled, reference
from tests.engines.test_agreement import TIMES, after_one_epoch, distance, exact
from workers.training.network import Images, ImageSets


@pytest.fixture(scope="module")
def few(images) -> ImageSets:
    """All images to train on, a few to evaluate with."""

    def first(part: Images) -> Images:
        return part.first(100)

    return ImageSets(images.train, first(images.validation), first(images.test))


def spec(batch_size: int, **fields: object) -> MnistSpec:
    steps = max(1, min(20, 20_000 // batch_size))
    return MnistSpec.model_validate(
        {"experiment": "mnist", "batch_size": batch_size, "steps_per_epoch": steps, "epochs": 2, **fields}
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"loss": "quadratic", "learning_rate": 3.0},
        {"loss": "cross_entropy", "learning_rate": 0.01},
        {"loss": "quadratic", "learning_rate": 0.1, "layers": [784, 20, 40, 10]},
    ],
    ids=["quadratic", "small-rate", "deep"],
)
@pytest.mark.parametrize("batch_size", [1, 10, 40, 100, 128, 129, 512, 513, 1000, 10_000, 55_000])
def test_every_batch_size_is_as_exact_as_the_reference(few, batch_size, fields):
    given = spec(batch_size, **fields)
    truth = exact(given, few)
    expected, its_curve = after_one_epoch(reference, given, few)

    for parameter in compiled():
        [fast] = parameter.values
        found, curve = after_one_epoch(fast, given, few)
        assert distance(found, truth) <= TIMES * distance(expected, truth), parameter.id
        assert curve.series["cost"] == pytest.approx(its_curve.series["cost"], rel=1e-4)
