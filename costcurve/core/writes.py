"""What a worker writes down about a job that it has in hand: how far it is, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from costcurve.core.curve import Curve
from costcurve.core.job import Claim, Failure, MnistResult, NeuronResult, Progress, Request
from costcurve.core.model_file import TrainedModel


@dataclass(frozen=True, slots=True)
class Restart:
    """The checkpoint cannot be used: the job, still the worker's own, begins anew."""

    why: str


@dataclass(frozen=True, slots=True)
class HandBack:
    """The job goes back into the queue, at no cost to it."""

    reason: str


# A result: the training ended. A failure: it cannot go on. A request: it has been performed.
Turn = NeuronResult | MnistResult | Failure | HandBack | Request | Restart


@dataclass(frozen=True, slots=True)
class Write:
    """With its claim as the fence: all of it is written, or nothing.

    `progress` is None where there is none to tell, `curve` and `steps` have the points since the last write, one for
    each epoch and one for each STEPS_A_POINT steps, `checkpoint` names the file that holds exactly this state, if one
    was written, and `turn` what happens to the job now, if anything. `start`, once, has the figures of its network
    before the first update; `model` is what to keep of a network whose training ended.
    """

    claim: Claim
    progress: Progress | None = None
    curve: Curve = field(default_factory=Curve)
    checkpoint: str | None = None
    turn: Turn | None = None
    steps: Curve = field(default_factory=Curve)
    start: Mapping[str, float] | None = None
    model: TrainedModel | None = None
