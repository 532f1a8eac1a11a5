"""The network on real MNIST: its gradients, its figures, its repeatability, and the article's story."""

import numpy as np
import pytest
import torch

from costcurve.core.curve import Curve, metrics_of
from costcurve.core.errors import Diverged
from costcurve.core.spec import MnistSpec
from workers.training.losses import cost
from workers.training.network import evaluate_in_parts, initial_network, logits, weights_sha256

CPU = torch.device("cpu")


def spec(**fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", **fields})


def trained(train, given: MnistSpec, images, **options):
    reports = list(train(given, images, **options))
    return Curve.joined(each.curve for each in reports), reports[-1].result


def numeric_gradient(function, parameter: torch.Tensor, index: tuple[int, ...]) -> float:
    """Central difference in float64."""
    step, value = 1e-6, parameter[index].item()
    parameter[index] = value + step
    above = function()
    parameter[index] = value - step
    below = function()
    parameter[index] = value
    return (above - below) / (2 * step)


@pytest.mark.parametrize(
    ("loss", "reduction"),
    [("quadratic", "sum_outputs"), ("cross_entropy", "sum_outputs"), ("cross_entropy", "mean_outputs")],
)
@pytest.mark.parametrize("layers", [[784, 10], [784, 30, 10], [784, 12, 8, 10]])
def test_the_gradient_is_the_numeric_derivative_of_the_cost(images, loss, reduction, layers):
    given = spec(loss=loss, reduction=reduction, layers=layers, init="scaled_normal")
    network = [
        tuple(tensor.detach().double().requires_grad_() for tensor in layer) for layer in initial_network(given, CPU)
    ]
    pixels, targets = images.train.pixels[:7].double(), images.train.targets[:7].double()

    def value() -> torch.Tensor:
        return cost(logits(network, pixels), targets, loss=loss, reduction=reduction)

    value().backward()
    inked = int(pixels.sum(dim=0).argmax())  # a pixel that is paper in all samples has no gradient to compare
    with torch.no_grad():
        for number, (weights, biases) in enumerate(network):
            row = inked if number == 0 else 1
            for parameter, index in ((weights, (row, 0)), (weights, (row, 3)), (biases, (2,))):
                expected = numeric_gradient(lambda: value().item(), parameter, index)
                assert parameter.grad[index].item() == pytest.approx(expected, rel=1e-5, abs=1e-11)
                assert expected != 0


@pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])
def test_the_delta_at_the_output_is_the_designs(loss):
    z = torch.tensor([[-3.0, 0.0, 4.0, 30.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[0.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    cost(z, y, loss=loss, reduction="sum_outputs").backward()

    a = torch.sigmoid(z.detach())
    expected = a - y if loss == "cross_entropy" else (a - y) * a * (1 - a)
    assert torch.allclose(z.grad, expected, rtol=1e-12, atol=1e-15)


def test_sums_over_outputs_are_ten_times_their_means(images):
    given = spec()
    z = logits(initial_network(given, CPU), images.test.pixels[:50])
    summed, mean = (
        cost(z, images.test.targets[:50], loss="cross_entropy", reduction=reduction).item()
        for reduction in ("sum_outputs", "mean_outputs")
    )

    assert summed == pytest.approx(10 * mean, rel=1e-6)


@pytest.mark.parametrize("loss", ["quadratic", "cross_entropy"])
def test_the_cost_is_finite_at_any_logit(loss):
    z = torch.tensor([[-3e38, -200.0, 200.0, 3e38]], requires_grad=True)
    for y in (torch.zeros(1, 4), torch.ones(1, 4)):
        value = cost(z, y, loss=loss, reduction="mean_outputs")
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(z.grad).all()


def test_one_step_of_training_is_the_update_by_hand(train, images):
    given = spec(loss="quadratic", epochs=1, steps_per_epoch=1, init="scaled_normal")
    (w1, b1), (w2, b2) = [
        tuple(tensor.detach().numpy().astype(np.float64) for tensor in layer) for layer in initial_network(given, CPU)
    ]
    from costcurve.analysis.randomness import SampleOrder

    batch = SampleOrder(seed=0, size=55_000).between(0, 10)
    x, y = images.train.pixels[batch].numpy().astype(np.float64), images.train.targets[batch].numpy()
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    a1 = sigmoid(x @ w1 + b1)
    a2 = sigmoid(a1 @ w2 + b2)
    delta2 = (a2 - y) * a2 * (1 - a2) / 10
    delta1 = delta2 @ w2.T * a1 * (1 - a1)
    by_hand = [w1 - 3 * x.T @ delta1, b1 - 3 * delta1.sum(0), w2 - 3 * a1.T @ delta2, b2 - 3 * delta2.sum(0)]

    curve, result = trained(train, given, images)

    network = [tuple(torch.tensor(p, dtype=torch.float32) for p in pair) for pair in (by_hand[:2], by_hand[2:])]
    *_, expected = evaluate_in_parts(network, images.test, given)
    assert curve.series["cost"][0] == pytest.approx(0.5 * ((a2 - y) ** 2).sum(axis=1).mean(), rel=1e-6)
    assert curve.series["test_cost"][0] == pytest.approx(expected.cost, rel=1e-5)
    assert abs(result.final_correct - expected.correct) <= 2


def test_the_figures_of_an_epoch_are_what_they_say(train, images):
    given = spec(epochs=2, steps_per_epoch=300)
    curve, result = trained(train, given, images)

    assert tuple(curve.series) == metrics_of(given)
    assert curve.series["accuracy"] == [correct / 10_000 for correct in curve.series["correct"]]
    assert result.final_correct == curve.series["correct"][-1]
    assert result.best_correct == max(curve.series["correct"])
    assert curve.series["correct"][result.best_epoch] == result.best_correct
    assert (result.test_size, result.epochs_trained) == (10_000, 2)
    assert result.final_cost == curve.series["cost"][-1]


def test_the_same_spec_twice_gives_the_same_bits(train, images):
    given = spec(epochs=2, steps_per_epoch=1000)

    (first_curve, first), (second_curve, second) = trained(train, given, images), trained(train, given, images)

    assert first_curve == second_curve
    assert first.weights_sha256 == second.weights_sha256
    assert (
        first.weights_sha256 != trained(train, spec(epochs=2, steps_per_epoch=1000, seed=1), images)[1].weights_sha256
    )


def test_how_often_it_reports_changes_no_bit(train, images):
    given = spec(epochs=2, steps_per_epoch=30)
    rarely, often = (list(train(given, images, report_interval=interval)) for interval in (60.0, 0.0))
    steps = [each.step for each in often]

    assert steps == sorted(steps)
    assert len(steps) == 2 * (30 + 10 + 5 + 1)  # steps, thousands of test and validation images, the epoch
    for points in ("curve", "steps"):
        whole, in_parts = (Curve.joined(getattr(each, points) for each in reports) for reports in (rarely, often))
        assert whole == in_parts
    assert often[-1].result.weights_sha256 == rarely[-1].result.weights_sha256


def test_each_hundred_steps_make_a_point_whatever_the_epochs_are(train, images):
    given = spec(epochs=3, steps_per_epoch=90)
    steps = Curve.joined(each.steps for each in train(given, images, report_interval=0.0))
    curve, _ = trained(train, given, images)

    assert (steps.start, len(steps), tuple(steps.series)) == (0, 3, ("cost", "cost_min", "cost_max"))
    assert all(low < mean < high for mean, low, high in zip(*steps.series.values(), strict=True))
    hundreds = [100, 100, 70]
    total = sum(count * mean for count, mean in zip(hundreds, steps.series["cost"], strict=True))
    assert total == pytest.approx(90 * sum(curve.series["cost"]), rel=1e-12)


def test_both_losses_start_from_the_same_weights(images):
    quadratic, cross_entropy = (initial_network(spec(loss=loss), CPU) for loss in ("quadratic", "cross_entropy"))

    assert weights_sha256(quadratic) == weights_sha256(cross_entropy)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"learning_rate": 1e39}, r"cost was no longer finite .* epoch 0"),
        ({"init": {"scheme": "constant", "weight": 1e39}}, r"the start is not finite: cost is (nan|inf) before"),
    ],
)
def test_training_that_diverges_says_where_and_keeps_no_infinite_point(train, images, fields, said):
    given = spec(epochs=1, steps_per_epoch=50, **fields)
    seen = []
    with pytest.raises(Diverged, match=said):
        seen.extend(train(given, images, report_interval=0.0))
    assert all(len(each.curve) == 0 for each in seen)


def test_early_stopping_ends_the_training_when_the_validation_accuracy_stalls(train, images):
    patient = spec(epochs=50, steps_per_epoch=20, learning_rate=1e-12, early_stopping={"patience": 2})
    curve, result = trained(train, patient, images)

    assert result.epochs_trained == len(curve) == 3
    assert len(set(curve.series["validation_accuracy"])) == 1


@pytest.mark.slow
def test_started_badly_wrong_the_quadratic_loss_stands_still_and_cross_entropy_learns(train, images):
    wrong = {"scheme": "normal", "output_bias": 10.0}
    quadratic, _ = trained(train, spec(loss="quadratic", init=wrong, epochs=3), images)
    cross_entropy, _ = trained(train, spec(loss="cross_entropy", init=wrong, epochs=1), images)

    assert quadratic.series["correct"][2] < 2000
    assert cross_entropy.series["correct"][0] > 8800


def test_a_network_whose_weights_are_infinite_has_diverged_even_if_its_outputs_are_not(train, images):
    # The second step makes weights of the first layer infinite; where they meet ink, the hidden units are 0 or 1.
    growing = spec(init="zeros", learning_rate=1e30, reduction="sum_outputs", steps_per_epoch=1)

    with pytest.raises(Diverged, match=r"test_cost was no longer finite .* after epoch 1"):
        list(train(growing, images))
