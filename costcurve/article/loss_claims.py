"""The article's claims about losses: never negative, near 0 where right."""

from collections.abc import Iterator
from math import log
from statistics import correlation

from costcurve.article.claims import Claim, Figure, Plot
from costcurve.article.evidence import Evidence, Run, Start
from costcurve.core.losses import ARTICLE_LOSSES, Loss

_RIGHT = 0.1
_WRONG = 0.9


def _of(evidence: Evidence, loss: Loss) -> list[float]:
    return [cost for run in evidence.runs if run.loss == loss for cost in run.costs()]


def _neurons(evidence: Evidence) -> list[Run]:
    return [run for start in (Start.GOOD, Start.BAD) for run in evidence.both(start)]


def _reversals(run: Run) -> float:
    """Count updates that lower a neuron's error but not its cost."""
    errors, cost = run.errors(), run.series("cost")
    steps = range(1, len(errors))
    return float(sum(errors[k] < errors[k - 1] and cost[k] >= cost[k - 1] for k in steps))


def _costs_where(run: Run, low: float, high: float) -> list[float]:
    return [cost for error, cost in zip(run.errors(), run.series("cost"), strict=True) if low <= error <= high]


def _extremes(evidence: Evidence, low: float, high: float) -> Iterator[list[float]]:
    """Yield, for each neuron, the costs at errors from `low` to `high`.

    A neuron that never has such an error is skipped.
    """
    return filter(None, (_costs_where(run, low, high) for run in _neurons(evidence)))


def _knowing_nothing(run: Run) -> float:
    """Return the cost of a network whose outputs are always 1/2."""
    outputs = run.job.spec["layers"][-1]
    if run.loss == "quadratic":
        return float(outputs) / 8
    return log(2) * (outputs if run.job.spec["reduction"] == "sum_outputs" else 1)


def _share_where_best(run: Run) -> float:
    correct = run.series("correct")
    return run.series("test_cost")[correct.index(max(correct))] / _knowing_nothing(run)


def _cost_with_accuracy(run: Run) -> float:
    return correlation(run.series("test_cost"), run.series("accuracy"))


NEVER_NEGATIVE = Claim(
    "never-negative",
    "A loss is never negative",
    says="Both losses are at least 0 for all outputs. The quadratic loss is a sum of squares. In cross-entropy, the "
    "logarithm of a number between 0 and 1 is never above 0.",
    measured="Every recorded cost of every run here, with both losses. For the neuron: each update. For MNIST: each "
    "epoch (training and test) and each 100 steps (mean, lowest and highest minibatch).",
    figures=(
        Figure(
            "negative",
            "costs below 0, of each loss",
            lambda e: [float(sum(cost < 0 for cost in _of(e, loss))) for loss in ARTICLE_LOSSES],
            at_most=0,
            why="never has no exception",
        ),
        Figure("costs", "recorded costs", lambda e: [float(sum(len(_of(e, loss)) for loss in ARTICLE_LOSSES))]),
        Figure("least_quadratic", "the smallest, quadratic", lambda e: [min(_of(e, "quadratic"))]),
        Figure("least_cross_entropy", "the smallest, cross-entropy", lambda e: [min(_of(e, "cross_entropy"))]),
    ),
    key="negative",
    holds="None of {costs} recorded costs is negative; the smallest are {least_quadratic} (quadratic) and "
    "{least_cross_entropy} (cross-entropy).",
    fails="There are negative costs: the smallest are {least_quadratic} (quadratic) and {least_cross_entropy} "
    "(cross-entropy).",
)

NEAR_ZERO = Claim(
    "near-zero",
    "A loss is near 0 where the output is right",
    says="When the output comes near the target, the loss comes near 0. The loss is large where the output is badly "
    "wrong. So it measures how wrong a network is.",
    measured="The neuron's four curves (both starts, both losses): cost against |a − y|. MNIST from its ordinary "
    "start with both losses: the cost on the test images against the accuracy on them.",
    figures=(
        Figure(
            "reversals",
            "updates at which the error falls and the cost does not",
            lambda e: [_reversals(run) for run in _neurons(e)],
            at_most=0,
            why="a measure of error falls whenever the error does",
        ),
        Figure(
            "cost_right",
            "highest cost where the output is within 0.1 of the target",
            lambda e: [max(costs) for costs in _extremes(e, 0, _RIGHT)],
            at_most=0.11,
            why="−ln 0.9 = 0.105: cross-entropy at 0.1 from the target; the quadratic loss is lower",
        ),
        Figure(
            "cost_wrong",
            "lowest cost where the output is 0.9 or more from the target",
            lambda e: [min(costs) for costs in _extremes(e, _WRONG, 1)],
            at_least=0.4,
            why="½ · 0.9² = 0.405: the quadratic loss at 0.9 from the target; cross-entropy is higher",
        ),
        Figure(
            "share",
            "MNIST: test cost at the best epoch, as a share of the cost of outputs that are all ½",
            lambda e: [_share_where_best(run) for run in e.both(Start.ORDINARY)],
            "%",
            at_most=0.1,
            why="a tenth of the cost of a network that knows nothing",
        ),
        Figure(
            "correlation",
            "MNIST: correlation of test cost and accuracy along the training",
            lambda e: [_cost_with_accuracy(run) for run in e.both(Start.ORDINARY)],
            at_most=-0.71,
            why="r² of a half: the cost explains at least half of the variance of the accuracy",
        ),
    ),
    key="cost_right",
    holds="Whenever the neuron's error falls, its cost falls: from {cost_wrong} or more, at least 0.9 from the target, "
    "to {cost_right} or less within 0.1. On MNIST, the cost at the best epoch is {share} of the cost of outputs that "
    "are all ½.",
    fails="The cost does not show how wrong the output is: within 0.1 of the target it is still {cost_right}.",
    plots=(
        Plot("near-zero", "One neuron, all four: output and cost", _neurons, "output,cost", log=True),
        Plot(
            "near-zero-mnist",
            "MNIST from its ordinary start: cost and accuracy on the test images",
            lambda e: e.pairs(Start.ORDINARY)[0],
            "test_cost,accuracy",
        ),
    ),
)
