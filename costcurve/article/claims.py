"""Claims: figures to measure, bounds with their reasons, and the verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from typing import Any, Literal

from costcurve.article.evidence import Evidence, Rescue, Run
from costcurve.article.spread import spread_of

# `points`: percentage points between two accuracies. `epochs`: up to an event. `ahead`: epochs between two events.
Unit = Literal["", "%", "points", "times", "updates", "epochs", "ahead", "images", "yes"]

# Text of an infinite value: an event never happened, or one run was ahead of another that never got there.
_ENDLESS: Mapping[Unit, str] = {"updates": "never", "epochs": "never", "ahead": "all the rest"}
# Up to this number, values are listed one by one.
_FEW = 4


class Verdict(StrEnum):
    """Verdict on a claim, as it follows from the data."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure to measure. With a bound it is a criterion.

    A criterion and its reason are fixed before the measurement. It is met where a value is within the bound.

    Attributes:
        name: name in the sentences of the claim.
        label: name for people.
        measure: returns one value for each run; infinite for an event that never happened.
        unit: unit of the values.
        at_least: lower bound, inclusive.
        at_most: upper bound, inclusive.
        why: reason of the bound.
    """

    name: str
    label: str
    measure: Callable[[Evidence], Sequence[float]]
    unit: Unit = ""
    at_least: float | None = None
    at_most: float | None = None
    why: str = ""

    @property
    def is_criterion(self) -> bool:
        return self.at_least is not None or self.at_most is not None

    @property
    def bound(self) -> str:
        """The bound in words, such as "at least 20"; empty without one."""
        if self.unit == "yes":
            return "yes" if self.at_least is not None else "no"
        if self.at_least is not None and self.at_most is not None:
            return f"{self.text(self.at_least)} to {self.text(self.at_most)}"
        if self.at_least is not None:
            return f"at least {self.text(self.at_least)}"
        return "" if self.at_most is None else f"at most {self.text(self.at_most)}"

    def meets(self, value: float) -> bool:
        """Return True if a value is within the bound."""
        low = -inf if self.at_least is None else self.at_least
        high = inf if self.at_most is None else self.at_most
        return low <= value <= high

    def text(self, *values: float) -> str:
        """Return the values for people, separated by commas, with their unit."""
        numbers = ", ".join(map(self.number, values))
        return self.with_unit(numbers) if any(map(isfinite, values)) else numbers

    def with_unit(self, numbers: str) -> str:
        """Return the numbers with their unit, unless the label names it."""
        return f"{numbers} {self.unit}" if self.unit in ("%", "points") else numbers

    def number(self, value: float) -> str:
        """Return a value as text for people, without its unit."""
        if not isfinite(value):
            return _ENDLESS.get(self.unit, "unknown")
        match self.unit:
            case "yes":
                return "yes" if value else "no"
            case "%" | "points":
                return _signed(100 * value, ".2f")
            case "images" | "updates" | "epochs" | "ahead":
                return _signed(value, ",.4g" if value % 1 else ",.0f")
        return _signed(value, ",.0f" if abs(value) >= 100 or (value % 1 == 0 and abs(value) >= 1) else ".4g")


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure, and its value in each run that was measured."""

    figure: Figure
    values: tuple[float, ...]

    @property
    def met(self) -> int:
        """The number of runs in which the criterion is met."""
        return sum(map(self.figure.meets, self.values))

    @property
    def text(self) -> str:
        """The values as text: up to 4 listed, more as a range."""
        figure, values = self.figure, self.values
        if len(set(map(figure.number, values))) == 1:
            return figure.text(values[0])
        if len(values) <= _FEW:
            return figure.text(*values)
        if figure.unit == "yes":
            return f"yes in {sum(map(bool, values))} of {len(values)}"
        return figure.with_unit(f"{figure.number(min(values))} to {figure.number(max(values))}")

    @property
    def spread(self) -> str:
        """Mean ± standard deviation as text; empty where there is none."""
        found = None if self.figure.unit == "yes" else spread_of(self.values)
        if found is None or not found[1]:
            return ""
        return self.figure.with_unit(f"{self.figure.number(found[0])} ± {self.figure.number(found[1])}")

    def document(self) -> dict[str, Any]:
        """Return the figure as plain values for JSON; infinite values are None."""
        figure, found = self.figure, spread_of(self.values)
        return {
            "name": figure.name,
            "label": figure.label,
            "unit": figure.unit,
            "values": [value if isfinite(value) else None for value in self.values],
            "mean": None if found is None else found[0],
            "standard_deviation": None if found is None else found[1],
            "at_least": figure.at_least,
            "at_most": figure.at_most,
            "why": figure.why or None,
            "met": [figure.meets(value) for value in self.values] if figure.is_criterion else None,
        }


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture for a claim: its runs, and the metrics of them that the service draws.

    With `svg`, that function draws the picture instead.
    """

    name: str
    title: str
    runs: Callable[[Evidence], Sequence[Run | Rescue]]
    metrics: str = ""
    log: bool = False
    svg: Callable[[Evidence], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the article, and the figures that test it.

    Attributes:
        name: identifier in the page and in JSON.
        title: heading for people.
        says: what the article says, in our words.
        measured: the runs and values that are measured.
        figures: criteria and other figures.
        key: name of the most telling figure.
        holds: verdict in a sentence if the claim holds, with names of figures in braces.
        fails: the same if the claim does not hold. If it holds in part, the sentence lists the criteria that are not
            met.
        plots: pictures for the page.
    """

    name: str
    title: str
    says: str
    measured: str
    figures: tuple[Figure, ...]
    key: str
    holds: str
    fails: str
    plots: tuple[Plot, ...] = ()

    def judge(self, evidence: Evidence) -> "Judgement":
        """Return the judgement: the figures measured on this evidence."""
        return Judgement(self, tuple(Measured(figure, tuple(figure.measure(evidence))) for figure in self.figures))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, all its measured figures, and the verdict that follows."""

    claim: Claim
    measured: tuple[Measured, ...]

    @property
    def criteria(self) -> list[Measured]:
        return [each for each in self.measured if each.figure.is_criterion]

    @property
    def verdict(self) -> Verdict:
        """The verdict: HOLDS if every criterion is met in every run.

        FAILS if none is met in any run, otherwise IN_PART.
        """
        met = sum(each.met for each in self.criteria)
        if met == sum(len(each.values) for each in self.criteria):
            return Verdict.HOLDS
        return Verdict.IN_PART if met else Verdict.FAILS

    @property
    def key_figure(self) -> str:
        """The most telling figure as text: its label and its values."""
        key = next(each for each in self.measured if each.figure.name == self.claim.key)
        return f"{key.figure.label}: {key.text}"

    @property
    def sentence(self) -> str:
        """The verdict as a sentence, with the measured figures."""
        texts = {each.figure.name: each.text for each in self.measured}
        match self.verdict:
            case Verdict.HOLDS:
                return self.claim.holds.format_map(texts)
            case Verdict.FAILS:
                return self.claim.fails.format_map(texts)
        return f"Missed criteria: {'; '.join(map(_shortfall, self._missed()))}. All other criteria are met."

    def _missed(self) -> list[Measured]:
        return [each for each in self.criteria if each.met < len(each.values)]

    def document(self, jobs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Return the judgement as plain values for JSON.

        Args:
            jobs: the ids of the jobs in each plot, by the plot's name.
        """
        claim = self.claim
        return {
            "name": claim.name,
            "title": claim.title,
            "article": claim.says,
            "measured": claim.measured,
            "verdict": self.verdict.value,
            "key_figure": self.key_figure,
            "sentence": self.sentence,
            "figures": [each.document() for each in self.measured],
            "plots": {plot.name: list(jobs[plot.name]) for plot in claim.plots},
        }


def _shortfall(missed: Measured) -> str:
    figure, count = missed.figure, len(missed.values)
    runs = f" in {count - missed.met} of {count} runs" if count > 1 else ""
    return f"{figure.label}: {missed.text}, required {figure.bound} (missed{runs})"


def _signed(value: float, form: str) -> str:
    return format(value, form).replace("-", "−")
