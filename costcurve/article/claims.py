"""What a claim is: figures, what they have to be for the claim to hold and why, and the verdict that follows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from typing import Any, Literal

from costcurve.article.evidence import Evidence, Run
from costcurve.article.spread import spread_of

# Accuracies differ by points of a percentage; `epochs` are counted up to an event, `ahead` between two of them.
Unit = Literal["", "%", "points", "times", "updates", "epochs", "ahead", "images", "yes"]

# What an infinite value says: that something never came, or that one was ahead of what never came.
_ENDLESS: Mapping[Unit, str] = {"updates": "never", "epochs": "never", "ahead": "all the rest"}
# So many values are told one by one.
_FEW = 4


class Verdict(StrEnum):
    """What the data say of a claim."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    FAILS = "does not hold"


@dataclass(frozen=True, slots=True)
class Figure:
    """Something to measure. With a bound it is a criterion: fixed beforehand, with its reason.

    `measure` gives one value for each run that it looks at, infinite for what never happened; the criterion is met
    where a value is not beyond the bound. `why`: the reason of the bound.
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
        """What the figure has to be, in words."""
        if self.unit == "yes":
            return "yes" if self.at_least is not None else "no"
        if self.at_least is not None and self.at_most is not None:
            return f"{self.text(self.at_least)} to {self.text(self.at_most)}"
        if self.at_least is not None:
            return f"at least {self.text(self.at_least)}"
        return "" if self.at_most is None else f"at most {self.text(self.at_most)}"

    def meets(self, value: float) -> bool:
        """Whether a value is within the bound."""
        low = -inf if self.at_least is None else self.at_least
        high = inf if self.at_most is None else self.at_most
        return low <= value <= high

    def text(self, *values: float) -> str:
        """Values as people read them, with commas between them and their unit behind them."""
        numbers = ", ".join(map(self.number, values))
        return self.with_unit(numbers) if any(map(isfinite, values)) else numbers

    def with_unit(self, numbers: str) -> str:
        """Numbers with their unit, where it is not in the label."""
        return f"{numbers} {self.unit}" if self.unit in ("%", "points") else numbers

    def number(self, value: float) -> str:
        """A value as people read it, without its unit."""
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
    """A figure, and what it came to in each run."""

    figure: Figure
    values: tuple[float, ...]

    @property
    def met(self) -> int:
        """In how many runs the criterion is met."""
        return sum(map(self.figure.meets, self.values))

    @property
    def text(self) -> str:
        """The values: each of a few, the span of many."""
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
        """Mean ± standard deviation; empty where there is none."""
        found = None if self.figure.unit == "yes" else spread_of(self.values)
        if found is None or not found[1]:
            return ""
        return self.figure.with_unit(f"{self.figure.number(found[0])} ± {self.figure.number(found[1])}")

    def document(self) -> dict[str, Any]:
        """For a machine; what is infinite is null."""
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
    """A picture that shows a claim: which runs, and which of their metrics."""

    name: str
    title: str
    runs: Callable[[Evidence], Sequence[Run]]
    metrics: str
    log: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that the article says.

    `says`: what it says; `measured`: what is looked at; `key`: the name of the figure that tells most; `holds` and
    `fails`: the verdict in a sentence, with the figures' names in braces. Where a claim holds in part, the sentence is
    made from the criteria that are not met.
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
        """What the data say."""
        return Judgement(self, tuple(Measured(figure, tuple(figure.measure(evidence))) for figure in self.figures))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A claim, all that was measured of it, and what that comes to."""

    claim: Claim
    measured: tuple[Measured, ...]

    @property
    def criteria(self) -> list[Measured]:
        return [each for each in self.measured if each.figure.is_criterion]

    @property
    def verdict(self) -> Verdict:
        """It holds if every criterion is met in every run, does not if none is met in any, and holds in part else."""
        met = sum(each.met for each in self.criteria)
        if met == sum(len(each.values) for each in self.criteria):
            return Verdict.HOLDS
        return Verdict.IN_PART if met else Verdict.FAILS

    @property
    def key_figure(self) -> str:
        """The figure that tells most, with its name."""
        key = next(each for each in self.measured if each.figure.name == self.claim.key)
        return f"{key.figure.label}: {key.text}"

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        texts = {each.figure.name: each.text for each in self.measured}
        match self.verdict:
            case Verdict.HOLDS:
                return self.claim.holds.format_map(texts)
            case Verdict.FAILS:
                return self.claim.fails.format_map(texts)
        return f"Not as it was to be: {'; '.join(map(_shortfall, self._missed()))}. All else is as the article says."

    def _missed(self) -> list[Measured]:
        return [each for each in self.criteria if each.met < len(each.values)]

    def document(self, jobs: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """For a machine. `jobs`: the ids of the jobs in each plot."""
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
    return f"{figure.label}: {missed.text}, where it was to be {figure.bound} (missed{runs})"


def _signed(value: float, form: str) -> str:
    return format(value, form).replace("-", "−")
