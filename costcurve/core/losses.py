"""Losses by name. Specs are checked by this table; `workers/training/losses.py` computes each loss."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from costcurve.core.validation import NameIn, entry_named

Reduction = Literal["sum_outputs", "mean_outputs"]


@dataclass(frozen=True, slots=True)
class LossInfo:
    """A loss of sigmoid outputs, the same wherever it is shown.

    `label` and `unit` name it and its cost in plots. `reductions` are those for which it is defined. `sum_outputs` is
    one of them, and the default of a neuron. The first is the default of a network.
    """

    name: str
    label: str
    unit: str
    reductions: tuple[Reduction, ...] = ("sum_outputs",)


LOSSES: Mapping[str, LossInfo] = {
    loss.name: loss
    for loss in (
        LossInfo("quadratic", "quadratic", "½ squared error"),
        LossInfo("cross_entropy", "cross-entropy", "nats", reductions=("mean_outputs", "sum_outputs")),
    )
}

# A loss in a spec.
Loss = Annotated[str, NameIn(LOSSES.keys)]

# The article's subject. The diagnosis of every network compares both at the same weights, also with a third loss.
ARTICLE_LOSSES = ("quadratic", "cross_entropy")


def loss_named(name: str) -> LossInfo:
    """Return the loss of this name. Raises ValueError for an unknown name."""
    return entry_named(LOSSES, name, "loss")


def default_reduction(experiment: str, loss: str) -> Reduction:
    """Return the reduction of a spec that names none. Raises ValueError for an unknown loss."""
    return "sum_outputs" if experiment == "neuron" else loss_named(loss).reductions[0]


def diagnosed_losses(loss: str) -> tuple[str, ...]:
    """Return the losses whose δ is recorded for a network with this loss: both of the article's, and its own."""
    return tuple(dict.fromkeys((*ARTICLE_LOSSES, loss)))
