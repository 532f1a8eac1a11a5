"""The article's claims about its network on MNIST with both losses."""

from collections.abc import Callable

from costcurve.article.claims import Claim, Figure, Plot
from costcurve.article.evidence import Evidence, Run, Start
from costcurve.article.spread import MeanDifference, mean_difference
from costcurve.core.datasets import MNIST
from costcurve.core.losses import ARTICLE_LOSSES, Loss

# 95 % minus three standard errors of an accuracy of 95 % on 10,000 images, 3 √(0.95 · 0.05 / 10,000) = 0.0065.
ABOUT_95 = 9_435
_ABOUT_95_WHY = "95 % minus three standard errors of such an accuracy on 10,000 images (0.65 %)"
# Three standard errors of the difference of two such accuracies.
ACCURACY_DIFFERENCE = 0.01


def both_losses(start: Start) -> Callable[[Evidence], list[Run]]:
    """Return a function that selects the runs from `start` with both losses."""
    return lambda evidence: [run for pair in evidence.pairs(start) for run in pair]


def gains(
    evidence: Evidence, start: Start, measure: Callable[[Run], float], *, at_equal_rate: bool = False
) -> list[float]:
    """Return, for each seed, cross-entropy's measure minus the quadratic loss's."""
    pairs = evidence.pairs(start, at_equal_rate=at_equal_rate)
    return [measure(cross_entropy) - measure(quadratic) for quadratic, cross_entropy in pairs]


def _best_of(loss: Loss) -> Callable[[Evidence], list[float]]:
    return lambda evidence: [run.best() for run in evidence.of(Start.ORDINARY, loss)]


def _worst(loss: Loss) -> Callable[[Evidence], list[float]]:
    return lambda evidence: [min(_best_of(loss)(evidence))]


def _epochs_to_mark(loss: Loss) -> Callable[[Evidence], list[float]]:
    return lambda evidence: [run.epochs_to_mark() for run in evidence.of(Start.ORDINARY, loss)]


def _better(evidence: Evidence) -> MeanDifference:
    return mean_difference([gain / MNIST.test_size for gain in gains(evidence, Start.ORDINARY, Run.best)])


def _sooner(evidence: Evidence) -> MeanDifference:
    return mean_difference(gains(evidence, Start.ORDINARY, _first_accuracy))


def _first_accuracy(run: Run) -> float:
    return run.series("accuracy")[0]


def _about_95(name: str, loss: Loss) -> Figure:
    return Figure(
        name, "most test images read correctly", _best_of(loss), "images", at_least=ABOUT_95, why=_ABOUT_95_WHY
    )


QUADRATIC = Claim(
    "mnist-quadratic",
    "MNIST with the quadratic loss reaches about 95 %",
    says="The 784-30-10 network with the quadratic loss, learning rate 3.0 and batches of 10 reads about 95 % of the "
    "test images after 30 epochs.",
    measured="That network, once for each seed: the best of its 30 epochs, as in the last line of the article's "
    "transcript.",
    figures=(
        _about_95("best", "quadratic"),
        Figure(
            "first",
            "test images read correctly after the first epoch",
            lambda e: [run.series("correct")[0] for run in e.of(Start.ORDINARY, "quadratic")],
            "images",
        ),
    ),
    key="best",
    holds="At its best it reads {best} of 10,000 test images.",
    fails="It falls short: at its best it reads {best} of 10,000 test images.",
)

CROSS_ENTROPY = Claim(
    "mnist-cross-entropy",
    "MNIST with cross-entropy does as well",
    says="The same network with cross-entropy reaches about 95 % as well.",
    measured="The same seeds, and so the same initial weights and the same batches. As in the article's code, "
    "cross-entropy is the mean over the outputs: its learning rate 3.0 has the effect of 0.3 with the quadratic loss.",
    figures=(
        _about_95("best", "cross_entropy"),
        Figure(
            "gain",
            "difference from the quadratic loss with the same seed",
            lambda e: [gain / MNIST.test_size for gain in gains(e, Start.ORDINARY, Run.best)],
            "points",
            at_least=-ACCURACY_DIFFERENCE,
            why="below it by at most three standard errors of the difference of two such accuracies",
        ),
        Figure(
            "first",
            "test images read correctly after the first epoch",
            lambda e: [run.series("correct")[0] for run in e.of(Start.ORDINARY, "cross_entropy")],
            "images",
        ),
    ),
    key="best",
    holds="At its best it reads {best} of 10,000 test images. The difference from the quadratic loss is, by seed, "
    "{gain}.",
    fails="It falls short: at its best it reads {best} of 10,000 test images, and the difference from the quadratic "
    "loss is {gain}.",
    plots=(Plot("mnist", "MNIST from its ordinary start", both_losses(Start.ORDINARY), "accuracy"),),
)

BETTER = Claim(
    "mnist-better",
    "MNIST is learned better, or sooner, with cross-entropy",
    says="Cross-entropy is the better choice of the two, because a network learns faster with it.",
    measured="The same runs, in pairs of the same seed: the differences of the best accuracy and of the accuracy after "
    "the first epoch. A gain is more than chance if the whole 95 % interval of its mean (Student's t) is above 0; one "
    "seed has no interval. Both losses have the article's learning rate, which has a tenth of its effect with "
    "cross-entropy.",
    figures=(
        Figure("better", "mean gain in the best accuracy", lambda e: [_better(e).mean], "points"),
        Figure("better_error", "its standard error", lambda e: [_better(e).standard_error], "points"),
        Figure(
            "better_low",
            "lower end of its 95 % interval",
            lambda e: [_better(e).low],
            "points",
            at_least=0,
            why="more than chance",
        ),
        Figure("better_high", "upper end of it", lambda e: [_better(e).high], "points"),
        Figure("sooner", "mean gain in the accuracy after the first epoch", lambda e: [_sooner(e).mean], "points"),
        Figure("sooner_error", "its standard error", lambda e: [_sooner(e).standard_error], "points"),
        Figure(
            "sooner_low",
            "lower end of its 95 % interval",
            lambda e: [_sooner(e).low],
            "points",
            at_least=0,
            why="more than chance",
        ),
        Figure(
            "better_equal",
            "gain in the best accuracy where both have the same effective learning rate, 3.0",
            lambda e: [gain / MNIST.test_size for gain in gains(e, Start.ORDINARY, Run.best, at_equal_rate=True)],
            "points",
        ),
        *(
            Figure(
                f"worst_{loss}",
                f"best of the worst seed, {loss.replace('_', '-')}",
                _worst(loss),
                "images",
            )
            for loss in ARTICLE_LOSSES
        ),
        *(
            Figure(
                f"epochs_{loss}",
                f"epoch after which 9,000 are read correctly, {loss.replace('_', '-')}",
                _epochs_to_mark(loss),
                "epochs",
            )
            for loss in ARTICLE_LOSSES
        ),
    ),
    key="better",
    holds="The mean gain is {better} (standard error {better_error}) in the best accuracy, and {sooner} "
    "({sooner_error}) after the first epoch.",
    fails="From the article's own start, neither gain is more than chance: the mean gain is {better} (standard error "
    "{better_error}) in the best accuracy and {sooner} ({sooner_error}) after the first epoch. With the worst seed, "
    "the quadratic loss reads {worst_quadratic} at its best, and cross-entropy {worst_cross_entropy}.",
)
