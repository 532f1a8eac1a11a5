"""The article's remark on hidden layers, tested on MNIST itself."""

from collections.abc import Callable

from costcurve.article.claims import Claim, Figure, Plot
from costcurve.article.evidence import Evidence, Run, Start
from costcurve.article.mnist_claims import ACCURACY_DIFFERENCE, both_losses, gains
from costcurve.core.datasets import MNIST
from costcurve.core.losses import ARTICLE_LOSSES, Loss

# Five times the difference that chance makes between two accuracies near 95 %.
_CLEARLY = 0.05


def _names_the_layer(loss: Loss) -> Callable[[Evidence], list[float]]:
    return lambda evidence: [run.has("hidden_layer_slow") for run in evidence.of(Start.SATURATED_HIDDEN, loss)]


def _ahead(evidence: Evidence, start: Start, of: Start) -> list[float]:
    """Return the gain in best accuracy of one start over another.

    The list has a value for each loss and seed: `start` minus `of`.
    """
    pairs = zip(evidence.both(start), evidence.both(of), strict=True)
    return [(one.best() - other.best()) / MNIST.test_size for one, other in pairs]


def _pairs_at_equal_rate(evidence: Evidence) -> list[tuple[Run, Run]]:
    """Return, for each seed, cross-entropy from two starts at equal rate.

    The starts are the ordinary one, and the one with a saturated hidden layer.
    """
    starts = (Start.ORDINARY, Start.SATURATED_HIDDEN)
    return list(zip(*(evidence.of(start, "cross_entropy", at_equal_rate=True) for start in starts), strict=True))


def _lost_at_equal_rate(evidence: Evidence) -> list[float]:
    pairs = _pairs_at_equal_rate(evidence)
    return [(ordinary.best() - saturated.best()) / MNIST.test_size for ordinary, saturated in pairs]


HIDDEN_LAYERS = Claim(
    "remark-hidden-layers",
    "Remark 1: it does not cure slow hidden layers",
    says="Cross-entropy removes σ′(z) from the output layer's gradient only. Every hidden layer keeps its own "
    "factor, and stays slow if it is saturated.",
    measured="MNIST with a saturated hidden layer (weights drawn with a standard deviation of 10), with both losses. "
    "The same with cross-entropy at the effective learning rate of the quadratic loss, ten times that of the article's "
    "code. The cure that the service's diagnosis proposes: weights scaled by 1/√n_in.",
    figures=(
        *(
            Figure(
                f"finding_{loss}",
                f"the diagnosis names the hidden layer, {loss.replace('_', '-')}",
                _names_the_layer(loss),
                "yes",
                at_least=1,
                why="the service itself looks for it",
            )
            for loss in ARTICLE_LOSSES
        ),
        Figure(
            "gain",
            "gain of cross-entropy over the quadratic loss",
            lambda e: [gain / MNIST.test_size for gain in gains(e, Start.SATURATED_HIDDEN, Run.best)],
            "points",
            at_most=ACCURACY_DIFFERENCE,
            why="a cure would gain more than three standard errors of a difference",
        ),
        Figure(
            "gain_equal",
            "the same gain where both have the same effective learning rate, 3.0",
            lambda e: [
                gain / MNIST.test_size for gain in gains(e, Start.SATURATED_HIDDEN, Run.best, at_equal_rate=True)
            ],
            "points",
        ),
        Figure(
            "finding_equal",
            "the diagnosis names the hidden layer, cross-entropy at that rate",
            lambda e: [
                run.has("hidden_layer_slow")
                for run in e.of(Start.SATURATED_HIDDEN, "cross_entropy", at_equal_rate=True)
            ],
            "yes",
            at_least=1,
            why="ten times larger steps in every layer leave this layer as far behind",
        ),
        Figure(
            "lost_equal",
            "accuracy below that of the ordinary start, cross-entropy at that rate",
            _lost_at_equal_rate,
            "points",
            at_least=ACCURACY_DIFFERENCE,
            why="with a cure, it would lose at most three standard errors of a difference",
        ),
        Figure(
            "lost",
            "accuracy below that of the ordinary start, each loss",
            lambda e: _ahead(e, Start.ORDINARY, Start.SATURATED_HIDDEN),
            "points",
            at_least=_CLEARLY,
            why="five times the difference by chance between two accuracies",
        ),
        Figure(
            "cured",
            "accuracy that scaled weights win back, each loss",
            lambda e: _ahead(e, Start.SCALED, Start.SATURATED_HIDDEN),
            "points",
            at_least=_CLEARLY,
            why="five times the difference by chance between two accuracies",
        ),
    ),
    key="lost",
    holds="With a saturated hidden layer, cross-entropy gains {gain} over the quadratic loss. At the same effective "
    "learning rate it gains {gain_equal}, but the hidden layer is as far behind the output layer as before, and "
    "{lost_equal} stay lost. Each loss stays {lost} below its accuracy from the ordinary start. Smaller initial "
    "weights win back {cured}.",
    fails="Cross-entropy cures it: it gains {gain} over the quadratic loss ({gain_equal} at the same effective "
    "learning rate), and stays {lost} below the ordinary start.",
    plots=(
        Plot(
            "remark-hidden-layers",
            "MNIST with a saturated hidden layer",
            both_losses(Start.SATURATED_HIDDEN),
            "accuracy",
        ),
        Plot(
            "remark-hidden-layers-equal-rates",
            "Cross-entropy at the effective learning rate 3.0, from both starts",
            lambda e: [run for pair in _pairs_at_equal_rate(e) for run in pair],
            "accuracy",
        ),
        Plot(
            "remark-hidden-layers-cured",
            "MNIST from scaled weights",
            both_losses(Start.SCALED),
            "accuracy",
        ),
    ),
)
