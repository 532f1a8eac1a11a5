"""A verdict in words."""

from collections.abc import Iterator, Mapping

from costcurve.analysis.trial_verdict import ALPHA, CHANCE_ACCURACY, MARGIN, Metric, Outcome, Verdict, least_pairs

_OUTCOMES: Mapping[Outcome, str] = {
    "cured": "The change cures it",
    "helped": "The change helps, and does not cure it",
    "no_difference": "The change makes no difference",
    "harmful": "The change harms",
    "undecided": "Undecided",
}
_METRICS: Mapping[Metric, str] = {
    "final_accuracy": "the test accuracy at the end",
    "target_distance": "the distance of the output from the target at the end",
}


def statement_of(verdict: Verdict) -> str:
    """Return the verdict in one sentence, and a sentence for each reservation."""
    return " ".join([_finding(verdict), *_reservations(verdict)])


def _finding(verdict: Verdict) -> str:
    said = _OUTCOMES[verdict.outcome]
    if verdict.means is None or verdict.mean_difference is None:
        return f"{said}: no pair of runs can be compared."
    as_it_is, changed = (_value(verdict.metric, mean) for mean in verdict.means)
    return (
        f"{said}: {_METRICS[verdict.metric]} is {changed} instead of {as_it_is}, a difference of "
        f"{_difference(verdict.metric, verdict.mean_difference)} ({_certainty(verdict)}){_conclusion(verdict)}."
    )


def _certainty(verdict: Verdict) -> str:
    if verdict.method == "exact":
        return "exact, as no number depends on the seed"
    if verdict.interval is None:
        return "one seed"
    low, high = (_difference(verdict.metric, bound) for bound in verdict.interval)
    return f"{100 * verdict.level:g} % interval {low.partition(' ')[0]} to {high}, Student's t, {verdict.n} seeds"


def _conclusion(verdict: Verdict) -> str:
    match verdict.outcome:
        case "cured" | "helped" if verdict.won_back is not None:
            attainable = _value(verdict.metric, verdict.attainable)
            return f"; it wins back {100 * verdict.won_back:.0f} % of what was lost, with {attainable} as attainable"
        case "no_difference":
            return f", within ± {_size(verdict.metric, MARGIN)}"
        case "undecided" if verdict.n < (least := least_pairs(1 - verdict.level)):
            return f"; at least {least} seeds are needed"
        case "undecided":
            return "; more seeds may decide"
    return ""


def _reservations(verdict: Verdict) -> Iterator[str]:
    if any(verdict.diverged):
        counts_as = (
            f"{_value(verdict.metric, CHANCE_ACCURACY)}, chance"
            if verdict.metric == "final_accuracy"
            else "the largest distance"
        )
        as_it_is, changed = verdict.diverged
        yield f"Diverged, and counted as {counts_as}: {_runs(as_it_is)} as it is, {_runs(changed)} with the change."
    if verdict.left_out:
        pairs = "1 seed is" if verdict.left_out == 1 else f"{verdict.left_out} seeds are"
        yield f"{pairs} left out: a run was cancelled or deleted, or failed for a reason outside its training."
    if verdict.looks > 1:
        yield f"Each of at most {verdict.looks} looks may err with {100 * ALPHA / verdict.looks:.3g} %."


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"


def _value(metric: Metric, value: float) -> str:
    return f"{100 * value:.2f} %" if metric == "final_accuracy" else f"{value:.4g}"


def _size(metric: Metric, value: float) -> str:
    if metric == "target_distance":
        return f"{value:.3g}"
    points = f"{100 * value:.3g}"
    return f"{points} point" if points == "1" else f"{points} points"


def _difference(metric: Metric, value: float) -> str:
    sign = "−" if value < 0 else "+"
    return f"{sign}{_size(metric, abs(value))}"
