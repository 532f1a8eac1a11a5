"""The rescue curve: how long the quadratic loss may run before cross-entropy can no longer save the network."""

from collections.abc import Callable

from costcurve.article.claims import Claim, Figure, Plot
from costcurve.article.evidence import Evidence
from costcurve.article.remark_claims import LINEAR_CLASSIFIER
from costcurve.article.rescue_plot import rescue_plot
from costcurve.core.presets import RESCUE_EPOCHS

_CHANGES = range(RESCUE_EPOCHS)
_LAST = RESCUE_EPOCHS - 1


def _ends(epoch: int) -> Callable[[Evidence], list[float]]:
    return lambda evidence: [rescue.at_the_end for rescue in evidence.rescued(epoch)]


RESCUE = Claim(
    "rescue-curve",
    "Rescue: a network that stands still is saved by cross-entropy at any time",
    says="With the quadratic loss a saturated output that is wrong hardly learns, because of the factor σ′(z) in its "
    "gradient. Cross-entropy does not have it, so the same output learns at once.",
    measured=f"MNIST from badly wrong outputs for {RESCUE_EPOCHS} epochs: the quadratic loss up to epoch k, and "
    "cross-entropy at the same effective learning rate from there on, for each k; k = 0 is "
    "cross-entropy from the start. Up to k all these runs of one seed are the same run, bit for bit.",
    figures=(
        Figure(
            "stuck",
            f"accuracy after {_LAST} epochs with the quadratic loss",
            lambda e: [rescue.before for rescue in e.rescued(_LAST)],
            "%",
            at_most=LINEAR_CLASSIFIER,
            why="below what a linear classifier reads: there is something to rescue",
        ),
        *(
            Figure(
                f"end_{epoch}",
                f"accuracy at the end, cross-entropy from {f'epoch {epoch} on' if epoch else 'the start'}",
                _ends(epoch),
                "%",
                at_least=LINEAR_CLASSIFIER,
                why="a linear classifier reads 88 %: the network is saved",
            )
            for epoch in _CHANGES
        ),
        Figure(
            "price",
            f"accuracy lost by a change at epoch {_LAST} instead of the start",
            lambda e: [early - late for early, late in zip(_ends(0)(e), _ends(_LAST)(e), strict=True)],
            "points",
        ),
    ),
    key=f"end_{_LAST}",
    holds=f"After {_LAST} epochs with the quadratic loss the network reads {{stuck}}. One epoch with cross-entropy "
    f"takes it from there to {{end_{_LAST}}}. With cross-entropy from the start it ends at {{end_0}}. Waiting costs "
    "{price}, but it is never too late.",
    fails=f"A network that stands still is not saved: {{stuck}} after {_LAST} epochs with the quadratic loss, and "
    f"{{end_{_LAST}}} after one more with cross-entropy.",
    plots=(
        Plot(
            "rescue-curve",
            "The rescue curve: accuracy at the end by the epoch at which cross-entropy takes over",
            lambda e: e.rescues,
            svg=rescue_plot,
        ),
        Plot(
            "rescue-courses",
            "The same trainings, epoch by epoch",
            lambda e: e.rescues,
            "accuracy",
        ),
    ),
)
