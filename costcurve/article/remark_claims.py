"""The article's remarks on the output layer, tested on MNIST.

They say where the loss matters, and what saturation does.
"""

from costcurve.article.claims import Claim, Figure, Plot
from costcurve.article.evidence import Run, Start
from costcurve.article.mnist_claims import ACCURACY_DIFFERENCE, both_losses

# Slowdown factor of a unit 0.95 away from its target; networks that learn well show 4 to 15.
_SLOWDOWN = 20
# Accuracy of a linear classifier (LeCun et al., 1998): a network that reaches it has learned.
LINEAR_CLASSIFIER = 0.88
_CHANCE_EPOCHS = 1
_LOST_EPOCHS = 2
_MOST_UNITS = 0.5


def _head_start(quadratic: Run, cross_entropy: Run) -> float:
    """Return the epochs by which cross-entropy reads 9,000 images sooner.

    It is 0 if neither ever does.
    """
    one, other = quadratic.epochs_to_mark(), cross_entropy.epochs_to_mark()
    return 0.0 if one == other else one - other


def _gained_while_saturated(run: Run) -> float:
    """Return the rise in accuracy after most outputs are first saturated."""
    saturated, accuracy = run.series("saturated_fraction.2"), run.series("accuracy")
    since = next((epoch for epoch, share in enumerate(saturated) if share >= _MOST_UNITS), len(saturated) - 1)
    return max(accuracy[since:]) - accuracy[since]


BADLY_WRONG = Claim(
    "remark-badly-wrong",
    "Remark 2: it matters only where the output is badly wrong",
    says="The quadratic loss slows down a saturated output that is wrong. If a network does not start with such "
    "outputs, the loss makes no difference.",
    measured="MNIST from its ordinary start, and from a start with every output near 1 (10 added to its biases): the "
    "slowdown factor before the first update, and how many epochs sooner cross-entropy reads 9,000 test images.",
    figures=(
        Figure(
            "slowdown_ordinary",
            "slowdown factor at the ordinary start",
            lambda e: [run.at_start("slowdown_factor") for run in e.of(Start.ORDINARY, "quadratic")],
            "times",
            at_most=_SLOWDOWN,
            why="the factor of a unit 0.95 from its target; networks that learn well show 4 to 15",
        ),
        Figure(
            "slowdown_wrong",
            "slowdown factor where outputs are badly wrong",
            lambda e: [run.at_start("slowdown_factor") for run in e.of(Start.WRONG_OUTPUTS, "quadratic")],
            "times",
            at_least=_SLOWDOWN,
            why="the same bound, from above",
        ),
        Figure(
            "sooner_ordinary",
            "epochs by which cross-entropy is ahead, ordinary start",
            lambda e: [_head_start(*pair) for pair in e.pairs(Start.ORDINARY)],
            "ahead",
            at_least=-_CHANCE_EPOCHS,
            at_most=_CHANCE_EPOCHS,
            why="no difference, except one epoch by chance",
        ),
        Figure(
            "sooner_wrong",
            "epochs by which cross-entropy is ahead, outputs badly wrong",
            lambda e: [_head_start(*pair) for pair in e.pairs(Start.WRONG_OUTPUTS)],
            "ahead",
            at_least=_LOST_EPOCHS,
            why="more than chance",
        ),
        Figure(
            "no_difference",
            "the comparison says that the loss and its rate make no difference, ordinary start",
            lambda e: e.compared(Start.ORDINARY, "loss_and_rate_make_no_difference"),
            "yes",
            at_least=1,
            why="the service's own comparison",
        ),
        Figure(
            "difference",
            "the comparison says that they make the difference, outputs badly wrong",
            lambda e: e.compared(Start.WRONG_OUTPUTS, "loss_and_rate_make_the_difference"),
            "yes",
            at_least=1,
            why="the service's own comparison",
        ),
        Figure(
            "epochs_quadratic",
            "epoch after which the quadratic loss reads 9,000, outputs badly wrong",
            lambda e: [run.epochs_to_mark() for run in e.of(Start.WRONG_OUTPUTS, "quadratic")],
            "epochs",
        ),
        Figure(
            "epochs_cross_entropy",
            "the same with cross-entropy",
            lambda e: [run.epochs_to_mark() for run in e.of(Start.WRONG_OUTPUTS, "cross_entropy")],
            "epochs",
        ),
        Figure(
            "best_quadratic",
            "most test images that the quadratic loss reads, outputs badly wrong",
            lambda e: [run.best() for run in e.of(Start.WRONG_OUTPUTS, "quadratic")],
            "images",
        ),
    ),
    key="epochs_quadratic",
    holds="At the ordinary start the slowdown factor is {slowdown_ordinary}, and the two losses read 9,000 images "
    "equally soon. Where outputs are badly wrong the factor is {slowdown_wrong}: cross-entropy reads 9,000 images "
    "after epoch {epochs_cross_entropy}, the quadratic loss after epoch {epochs_quadratic}.",
    fails="The start makes no difference: cross-entropy is ahead by {sooner_ordinary} epochs at the ordinary "
    "start and by {sooner_wrong} where outputs are badly wrong.",
    plots=(
        Plot(
            "remark-badly-wrong",
            "MNIST with outputs badly wrong at the start: accuracy",
            both_losses(Start.WRONG_OUTPUTS),
            "accuracy",
        ),
        Plot(
            "remark-badly-wrong-slowdown",
            "The same: slowdown factor 1/σ′(z) of the outputs",
            both_losses(Start.WRONG_OUTPUTS),
            "slowdown_factor",
            log=True,
        ),
    ),
)

SATURATION = Claim(
    "remark-saturation",
    "Remark 3: it does not prevent saturation, it keeps a saturated output learning",
    says="With cross-entropy, outputs also go to where σ is flat. But they continue to learn there while they are "
    "wrong.",
    measured="MNIST with cross-entropy from the ordinary start and from badly wrong outputs: the share of saturated "
    "outputs (σ′(z) < 0.01), and the accuracy gained while most are.",
    figures=(
        Figure(
            "saturated",
            "saturated outputs at the end, cross-entropy",
            lambda e: [run.series("saturated_fraction.2")[-1] for run in e.of(Start.ORDINARY, "cross_entropy")],
            "%",
            at_least=_MOST_UNITS,
            why="most of the outputs",
        ),
        Figure(
            "saturated_quadratic",
            "the same with the quadratic loss",
            lambda e: [run.series("saturated_fraction.2")[-1] for run in e.of(Start.ORDINARY, "quadratic")],
            "%",
        ),
        Figure(
            "gained",
            "accuracy gained while most outputs are saturated, cross-entropy",
            lambda e: [_gained_while_saturated(run) for run in e.of(Start.ORDINARY, "cross_entropy")],
            "points",
            at_least=ACCURACY_DIFFERENCE,
            why="three standard errors of a difference: it continues to learn",
        ),
        Figure(
            "start",
            "saturated outputs at the start, badly wrong",
            lambda e: [run.at_start("saturated_fraction.2") for run in e.of(Start.WRONG_OUTPUTS, "cross_entropy")],
            "%",
            at_least=_MOST_UNITS,
            why="most of the outputs, and nearly all of these wrongly",
        ),
        Figure(
            "first",
            "accuracy from there after one epoch, cross-entropy",
            lambda e: [run.series("accuracy")[0] for run in e.of(Start.WRONG_OUTPUTS, "cross_entropy")],
            "%",
            at_least=LINEAR_CLASSIFIER,
            why="a linear classifier reads 88 %: saturation did not slow it down",
        ),
        Figure(
            "first_quadratic",
            "the same with the quadratic loss",
            lambda e: [run.series("accuracy")[0] for run in e.of(Start.WRONG_OUTPUTS, "quadratic")],
            "%",
        ),
        Figure(
            "finding",
            "the diagnosis says that it is saturated and learning",
            lambda e: [run.has("saturated_but_learning") for run in e.of(Start.ORDINARY, "cross_entropy")],
            "yes",
            at_least=1,
            why="the service's own finding",
        ),
    ),
    key="saturated",
    holds="With cross-entropy, {saturated} of the outputs end saturated, and {gained} of accuracy are gained after "
    "most of them are. From a start with {start} of them saturated, it reads {first} after one epoch (quadratic: "
    "{first_quadratic}).",
    fails="With cross-entropy, outputs do not saturate, or they stop learning when they do: {saturated} at the end, "
    "{gained} gained while most are.",
    plots=(
        Plot(
            "remark-saturation",
            "MNIST from its ordinary start: saturated outputs, and the accuracy",
            both_losses(Start.ORDINARY),
            "saturated_fraction.2,accuracy",
        ),
    ),
)
