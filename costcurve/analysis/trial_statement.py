"""A verdict in words."""

from collections.abc import Iterator, Mapping

from costcurve.analysis.trial_verdict import CHANCE_ACCURACY, MARGIN, Judgement, Metric, Outcome, Verdict, least_pairs
from costcurve.core.metrics import is_shown_in_percent

_OUTCOMES: Mapping[Outcome, str] = {
    "cured": "The change cures it",
    "helped": "The change helps, and does not cure it",
    "no_difference": "The change makes no difference",
    "harmful": "The change harms",
    "undecided": "Undecided",
}
# What follows the outcome if the course of the trainings shows it.
_BY_COURSE: Mapping[Outcome, str] = {
    "cured": ", as it learns at once",
    "helped": ", as it learns sooner",
    "harmful": ", as it learns later",
    "undecided": " whether it learns sooner",
}
_METRICS: Mapping[Metric, str] = {
    "final_accuracy": "the test accuracy at the end",
    "mean_accuracy": "the test accuracy, averaged over all epochs,",
    "target_distance": "the distance of the output from the target at the end",
    "mean_target_distance": "the distance of the output from the target, averaged over all updates,",
}
_IN_SHORT: Mapping[Metric, str] = {
    "final_accuracy": "At the end it",
    "mean_accuracy": "Averaged over all epochs it",
    "target_distance": "At the end it",
    "mean_target_distance": "Averaged over all updates it",
}


def statement_of(verdict: Verdict) -> str:
    """Return the verdict in one sentence, one on the figure that does not decide, and one for each reservation."""
    others = [_in_short(verdict, each) for each in verdict.judgements if each is not verdict.deciding]
    return " ".join([_finding(verdict, verdict.deciding), *filter(None, others), *_reservations(verdict)])


def _finding(verdict: Verdict, judged: Judgement) -> str:
    said = _OUTCOMES[judged.outcome]
    if judged is verdict.course:
        said += _BY_COURSE.get(judged.outcome, "")
    if judged.means is None or judged.mean_difference is None:
        return f"{said}: no pair of runs can be compared."
    as_it_is, changed = (_value(judged.metric, mean) for mean in judged.means)
    return (
        f"{said}: {_METRICS[judged.metric]} is {changed} instead of {as_it_is}, a difference of "
        f"{_difference(judged.metric, judged.mean_difference)} ({_certainty(verdict, judged)})"
        f"{_conclusion(verdict, judged)}."
    )


def _in_short(verdict: Verdict, judged: Judgement) -> str | None:
    """Return a sentence on a figure that does not decide; None if no pair of runs has it."""
    if judged.means is None or judged.mean_difference is None:
        return None
    as_it_is, changed = (_value(judged.metric, mean) for mean in judged.means)
    said = f"{_IN_SHORT[judged.metric]} is {changed} instead of {as_it_is}"
    if judged.outcome == "no_difference":
        return f"{said}, within ± {_size(judged.metric, MARGIN)}."
    if verdict.method == "exact" or judged.interval is None:
        return f"{said}."
    return f"{said}, {_difference(judged.metric, judged.mean_difference)} ({_bounds(judged.metric, judged.interval)})."


def _certainty(verdict: Verdict, judged: Judgement) -> str:
    if verdict.method == "exact":
        return "exact, as no number depends on the seed"
    if judged.interval is None:
        return "one seed"
    bounds = _bounds(judged.metric, judged.interval)
    return f"{100 * verdict.level:.5g} % interval {bounds}, Student's t, {verdict.n} seeds"


def _bounds(metric: Metric, interval: tuple[float, float]) -> str:
    low, high = (_difference(metric, bound) for bound in interval)
    return f"{low.partition(' ')[0]} to {high}"


def _conclusion(verdict: Verdict, judged: Judgement) -> str:
    match judged.outcome:
        case "cured" | "helped" if judged.won_back is not None:
            attainable = _value(judged.metric, judged.attainable)
            return f"; it wins back {100 * judged.won_back:.0f} % of what was lost, with {attainable} as attainable"
        case "no_difference":
            return f", within ± {_size(judged.metric, MARGIN)}"
        case "undecided" if verdict.n < (least := least_pairs(1 - verdict.level)):
            return f"; at least {least} seeds are needed"
        case "undecided":
            return "; more seeds may decide"
    return ""


def _reservations(verdict: Verdict) -> Iterator[str]:
    if any(verdict.diverged):
        metric = verdict.end.metric
        counts_as = f"{_value(metric, CHANCE_ACCURACY)}, chance" if _is_share(metric) else "the largest distance"
        as_it_is, changed = verdict.diverged
        yield f"Diverged, and counted as {counts_as}: {_runs(as_it_is)} as it is, {_runs(changed)} with the change."
    if verdict.left_out:
        pairs = "1 seed is" if verdict.left_out == 1 else f"{verdict.left_out} seeds are"
        yield f"{pairs} left out: a run was cancelled or deleted, or failed for a reason outside its training."
    if verdict.looks > 1:
        each = "Each" if verdict.course is None else "Each of both figures at each"
        yield f"{each} of at most {verdict.looks} looks may err with {100 * (1 - verdict.level):.3g} %."


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _is_share(metric: Metric) -> bool:
    return is_shown_in_percent(metric)


def _value(metric: Metric, value: float) -> str:
    return f"{100 * value:.2f} %" if _is_share(metric) else f"{value:.4g}"


def _size(metric: Metric, value: float) -> str:
    if not _is_share(metric):
        return f"{value:.3g}"
    points = f"{100 * value:.3g}"
    return f"{points} point" if points == "1" else f"{points} points"


def _difference(metric: Metric, value: float) -> str:
    sign = "−" if value < 0 else "+"
    return f"{sign}{_size(metric, abs(value))}"
