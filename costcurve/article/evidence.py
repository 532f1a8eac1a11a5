"""What was trained, as the claims look at it: each run by its start, its loss and its seed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import Any, Literal

from costcurve.client.diagnosis import Diagnosis
from costcurve.client.types import Curve, Job

Loss = Literal["quadratic", "cross_entropy"]
LOSSES: tuple[Loss, ...] = ("quadratic", "cross_entropy")

# So many of the 10,000 test images: the mark by which the diagnosis, too, tells who learns sooner.
MARK = 9_000


class Start(StrEnum):
    """Where a training starts."""

    GOOD = "good start (0.6, 0.9)"
    BAD = "bad start (2, 2)"
    ORDINARY = "ordinary start"
    WRONG_OUTPUTS = "outputs badly wrong"
    SATURATED_HIDDEN = "hidden layer saturated"
    SCALED = "scaled weights"


def start_of(spec: Mapping[str, Any]) -> Start:
    """From where a resolved spec starts.

    Raises:
        ValueError: from none of the article's starts.
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
    raise ValueError(f"no start of the article's: {spec}")


@dataclass(frozen=True, slots=True)
class Run:
    """One training that has succeeded: its job, its curve by epochs and by steps, and its diagnosis.

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
        """Whether it is a network whose cross-entropy has the quadratic loss's effective rate, not the article's tenth.

        One neuron has one output, over which sum and mean are the same.
        """
        spec = self.job.spec
        return (spec["experiment"], self.loss, spec["reduction"]) == ("mnist", "cross_entropy", "sum_outputs")

    @property
    def seed(self) -> int:
        return int(self.job.spec["seed"])

    def series(self, metric: str) -> list[float]:
        """The metric at every x; infinite where the service says null."""
        return [inf if value is None else value for value in self.epochs.series[metric]]

    def errors(self) -> list[float]:
        """Of a neuron: |a − y| after each update."""
        target = float(self.job.spec["target"])
        return [abs(output - target) for output in self.series("output")]

    def half_way(self) -> float:
        """Of a neuron: the update after which its error is half of what it was; infinite if none."""
        errors = self.errors()
        return first(error <= errors[0] / 2 for error in errors)

    def steepest(self) -> float:
        """Of a neuron: the update at which its cost falls most."""
        cost = self.series("cost")
        falls = [before - after for before, after in pairwise(cost)]
        return float(falls.index(max(falls)))

    def best(self) -> float:
        """Of a network: the most test images that it read rightly after an epoch."""
        return max(self.series("correct"))

    def epochs_to_mark(self) -> float:
        """Of a network: the epoch after which it first read 9,000 test images rightly; infinite if none."""
        return first(correct >= MARK for correct in self.series("correct"))

    def has(self, code: str) -> float:
        """1 if its diagnosis has this finding, 0 if not."""
        return float(self.diagnosis.finding(code) is not None)

    def at_start(self, metric: str) -> float:
        """Of a network: a figure of its diagnosis before the first update."""
        value = (self.diagnosis.start or {}).get(metric)
        return inf if value is None else value

    def costs(self) -> list[float]:
        """Every cost that was recorded of it: by epochs and by steps, means and extremes, of training and of test."""
        columns = [self.epochs.series[name] for name in ("cost", "test_cost") if name in self.epochs.series]
        if self.job.spec["experiment"] != "neuron":
            columns += self.steps.series.values()
        return [value for column in columns for value in column if value is not None]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All runs, and the service's comparison of each pair of networks that differ in their loss alone."""

    runs: Sequence[Run]
    comparisons: Mapping[tuple[Start, int], Diagnosis]

    def neuron(self, start: Start, loss: Loss) -> Run:
        """The neuron from this start; there is no chance in it, so it is trained once."""
        (run,) = self.of(start, loss)
        return run

    def of(self, start: Start, loss: Loss, *, at_equal_rate: bool = False) -> list[Run]:
        """The runs of this start and loss by their seeds, at the article's learning rate unless said otherwise.

        Raises:
            LookupError: there are none.
        """
        wanted = (start, loss, at_equal_rate)
        found = [run for run in self.runs if (run.start, run.loss, run.at_equal_rate) == wanted]
        if not found:
            raise LookupError(f"no run with the loss {loss} from the {start}")
        return sorted(found, key=lambda run: run.seed)

    def both(self, start: Start) -> list[Run]:
        """The runs of this start with the quadratic loss, then those with cross-entropy."""
        return [run for loss in LOSSES for run in self.of(start, loss)]

    def pairs(self, start: Start, *, at_equal_rate: bool = False) -> list[tuple[Run, Run]]:
        """For each seed the run with the quadratic loss, and that with cross-entropy."""
        cross_entropy = self.of(start, "cross_entropy", at_equal_rate=at_equal_rate)
        return list(zip(self.of(start, "quadratic"), cross_entropy, strict=True))

    def compared(self, start: Start, code: str) -> list[float]:
        """For each seed 1 if the comparison of the two losses has this finding, 0 if not."""
        return [
            float(self.comparisons[start, quadratic.seed].finding(code) is not None)
            for quadratic, _ in self.pairs(start)
        ]


def first(holds: Iterable[bool]) -> float:
    """Where it holds first, counted from 0; infinite if nowhere."""
    return next((float(index) for index, held in enumerate(holds) if held), inf)
