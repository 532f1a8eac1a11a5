"""Evidence for the claims: each run with its start, loss and seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import Any

from costcurve.client.diagnosis import Diagnosis
from costcurve.client.types import Curve, Job
from costcurve.core.losses import ARTICLE_LOSSES, Loss

# Correct test images of 10,000. The diagnosis compares learning speed by the same mark.
MARK = 9_000


class Start(StrEnum):
    """The article's starts of a training: initial weights and biases."""

    GOOD = "good start (0.6, 0.9)"
    BAD = "bad start (2, 2)"
    ORDINARY = "ordinary start"
    WRONG_OUTPUTS = "outputs badly wrong"
    SATURATED_HIDDEN = "hidden layer saturated"
    SCALED = "scaled weights"


def start_of(spec: Mapping[str, Any]) -> Start:
    """Return the start of a resolved spec.

    Raises:
        ValueError: it is none of the article's starts.
    """
    match spec:
        case {"experiment": "neuron", "init": {"weight": 0.6, "bias": 0.9}}:
            return Start.GOOD
        case {"experiment": "neuron", "init": {"weight": 2.0, "bias": 2.0}}:
            return Start.BAD
        case {"experiment": "mnist", "init": {"scheme": "scaled_normal"}}:
            return Start.SCALED
        case {"experiment": "mnist", "init": {"scheme": "normal", "std": [10.0, 1.0]}}:
            return Start.SATURATED_HIDDEN
        case {"experiment": "mnist", "init": {"scheme": "normal", "output_bias": 10.0}}:
            return Start.WRONG_OUTPUTS
        case {"experiment": "mnist", "init": {"scheme": "normal", "output_bias": 0.0, "std": 1.0}}:
            return Start.ORDINARY
    raise ValueError(f"the spec has none of the article's starts: {spec}")


@dataclass(frozen=True, slots=True)
class Run:
    """One succeeded training: job, curve by epochs, curve by steps, diagnosis.

    For a neuron both curves are the same.
    """

    job: Job
    epochs: Curve
    steps: Curve
    diagnosis: Diagnosis

    @property
    def start(self) -> Start:
        return start_of(self.job.spec)

    @property
    def loss(self) -> Loss:
        loss: Loss = self.job.spec["loss"]
        return loss

    @property
    def at_equal_rate(self) -> bool:
        """True for MNIST with cross-entropy at the quadratic loss's effective rate.

        In the article's code cross-entropy has a tenth of that rate. A neuron has one output, over which sum and mean
        are the same: the value is False.
        """
        spec = self.job.spec
        return (spec["experiment"], self.loss, spec["reduction"]) == ("mnist", "cross_entropy", "sum_outputs")

    @property
    def seed(self) -> int:
        return int(self.job.spec["seed"])

    def series(self, metric: str) -> list[float]:
        """Return the metric at every x; infinite where the service returns null."""
        return [inf if value is None else value for value in self.epochs.series[metric]]

    def errors(self) -> list[float]:
        """Return a neuron's error |a − y| at each x."""
        target = float(self.job.spec["target"])
        return [abs(output - target) for output in self.series("output")]

    def half_way(self) -> float:
        """Return the first x at which a neuron's error has halved.

        It is the number of updates; infinite if the error never halves.
        """
        errors = self.errors()
        return first(error <= errors[0] / 2 for error in errors)

    def steepest(self) -> float:
        """Return the x before the largest fall of a neuron's cost."""
        cost = self.series("cost")
        falls = [before - after for before, after in pairwise(cost)]
        return float(falls.index(max(falls)))

    def best(self) -> float:
        """Return a network's highest number of correct test images after any epoch."""
        return max(self.series("correct"))

    def epochs_to_mark(self) -> float:
        """Return the epoch after which a network first reads 9,000 images correctly.

        They are test images. The value is infinite if the network never does.
        """
        return first(correct >= MARK for correct in self.series("correct"))

    def has(self, code: str) -> float:
        """Return 1 if the diagnosis has this finding, otherwise 0."""
        return float(self.diagnosis.finding(code) is not None)

    def at_start(self, metric: str) -> float:
        """Return a figure of a network's diagnosis before the first update.

        It is infinite if the service returns null.
        """
        value = (self.diagnosis.start or {}).get(metric)
        return inf if value is None else value

    def costs(self) -> list[float]:
        """Return every recorded cost of the run.

        For a network these are training and test cost by epochs, and the mean, lowest and highest cost by steps.
        """
        columns = [self.epochs.series[name] for name in ("cost", "test_cost") if name in self.epochs.series]
        if self.job.spec["experiment"] != "neuron":
            columns += self.steps.series.values()
        return [value for column in columns for value in column if value is not None]


@dataclass(frozen=True, slots=True)
class Rescue:
    """One succeeded training that changes from the quadratic loss to cross-entropy; its curve has the accuracy.

    At epoch 0 it has cross-entropy from the start.
    """

    job: Job
    epochs: Curve

    @property
    def from_epoch(self) -> int:
        """The first epoch with cross-entropy."""
        return int(next((change["from_epoch"] for change in self.job.spec["schedule"]), 0))

    @property
    def accuracy(self) -> list[float]:
        """Accuracy on the test images after each epoch."""
        return [inf if value is None else value for value in self.epochs.series["accuracy"]]

    @property
    def before(self) -> float:
        """Accuracy after the last epoch with the quadratic loss.

        Raises:
            LookupError: there is none before epoch 0.
        """
        if self.from_epoch == 0:
            raise LookupError("no epoch with the quadratic loss")
        return self.accuracy[self.from_epoch - 1]

    @property
    def at_the_end(self) -> float:
        """Accuracy after the last epoch."""
        return self.accuracy[-1]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All runs, the comparisons of pairs that differ in loss alone, and the rescues.

    The service makes the comparisons: one for each start and seed of the networks.
    """

    runs: Sequence[Run]
    comparisons: Mapping[tuple[Start, int], Diagnosis]
    rescues: Sequence[Rescue] = ()

    def neuron(self, start: Start, loss: Loss) -> Run:
        """Return the one run of a neuron from this start.

        Its training has no chance in it, so it is trained once.
        """
        (run,) = self.of(start, loss)
        return run

    def of(self, start: Start, loss: Loss, *, at_equal_rate: bool = False) -> list[Run]:
        """Return the runs of this start and loss, ordered by seed.

        Args:
            start: the start of the runs.
            loss: the loss of the runs.
            at_equal_rate: see `Run.at_equal_rate`; the article's own learning rate if False.

        Raises:
            LookupError: there are none.
        """
        wanted = (start, loss, at_equal_rate)
        found = [run for run in self.runs if (run.start, run.loss, run.at_equal_rate) == wanted]
        if not found:
            raise LookupError(f"no run with the loss {loss} from the {start}")
        return sorted(found, key=lambda run: run.seed)

    def rescued(self, from_epoch: int) -> list[Rescue]:
        """Return the rescues at this epoch, ordered by seed.

        Raises:
            LookupError: there are none.
        """
        found = [rescue for rescue in self.rescues if rescue.from_epoch == from_epoch]
        if not found:
            raise LookupError(f"no run that changes to cross-entropy at epoch {from_epoch}")
        return sorted(found, key=lambda rescue: int(rescue.job.spec["seed"]))

    def both(self, start: Start) -> list[Run]:
        """Return the start's runs with the quadratic loss, then with cross-entropy."""
        return [run for loss in ARTICLE_LOSSES for run in self.of(start, loss)]

    def pairs(self, start: Start, *, at_equal_rate: bool = False) -> list[tuple[Run, Run]]:
        """Return, for each seed, the runs with quadratic loss and cross-entropy."""
        cross_entropy = self.of(start, "cross_entropy", at_equal_rate=at_equal_rate)
        return list(zip(self.of(start, "quadratic"), cross_entropy, strict=True))

    def compared(self, start: Start, code: str) -> list[float]:
        """Return 1 for each seed whose comparison has this finding, else 0."""
        return [
            float(self.comparisons[start, quadratic.seed].finding(code) is not None)
            for quadratic, _ in self.pairs(start)
        ]


def first(holds: Iterable[bool]) -> float:
    """Return the index of the first True; infinite if there is none."""
    return next((float(index) for index, held in enumerate(holds) if held), inf)
