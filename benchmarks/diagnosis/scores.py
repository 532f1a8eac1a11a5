"""Figures of the benchmark from its cases: how often causes are named, repaired and harmed."""

from collections.abc import Callable, Iterable, Sequence
from math import sqrt
from typing import Any

from benchmarks import record
from benchmarks.diagnosis.cases import Case
from benchmarks.diagnosis.generator import FAMILIES

# A fault that costs less is dropped: it is none.
LEAST_COST = 0.03
# A test repairs if it ends within this of the sound spec; it harms, or wins nothing, by the same margin.
MARGIN = 0.01
WON_BACK = 0.9
# Read off the spec or the start alone.
GIVEN_AWAY = ("symmetric_init", "layer_too_narrow", "start_not_finite", "diverged")
_COLUMNS = ("named first", "try < 1 pt", "try ≥ 90 %", "try harmful", "random < 1 pt", "random harmful")


def is_right(case: Case) -> bool:
    """Return True if the cause that was put in is named first, or another one that its own test repairs.

    A rate that is too small can be made up for by more updates: then either is right.
    """
    if case.named in case.names:
        return True
    is_ambiguous = "learning_rate_small" in case.names and case.named == "too_few_updates"
    return is_ambiguous and is_repaired(case)


def tried(case: Case) -> float:
    """Return the accuracy of the `try`; that of the faulty spec if there is none."""
    return case.accuracy if case.tried is None else case.tried


def is_repaired(case: Case) -> bool:
    """Return True if the `try` ends within a point of the sound spec."""
    return tried(case) >= case.sound - MARGIN


def is_won_back(case: Case) -> bool:
    """Return True if the `try` wins back most of what the fault cost."""
    return tried(case) - case.accuracy >= WON_BACK * (case.sound - case.accuracy)


def is_harmful(case: Case) -> bool:
    """Return True if the `try` ends more than a point below the faulty spec."""
    return tried(case) < case.accuracy - MARGIN


def _random_repairs(case: Case) -> bool:
    return case.random is not None and case.random >= case.sound - MARGIN


def _random_harms(case: Case) -> bool:
    return case.random is not None and case.random < case.accuracy - MARGIN


_SCORES: Sequence[Callable[[Case], bool]] = (
    is_right,
    is_repaired,
    is_won_back,
    is_harmful,
    _random_repairs,
    _random_harms,
)


def interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927)."""
    if not count:
        return 0.0, 1.0
    z, share = 1.96, hits / count
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def summary(cases: Sequence[Case]) -> dict[str, Any]:
    """Return the figures of all cases, for the record's JSON."""
    sound = [case for case in cases if case.family is None]
    alarms = [case for case in sound if case.named is not None]
    false = [case for case in alarms if tried(case) - case.accuracy < MARGIN]
    found: dict[str, Any] = {
        "sound": len(sound),
        "alarms": len(alarms),
        "false_alarms": len(false),
        "false_alarms_interval": interval(len(false), len(sound)),
    }
    for strength in ("strong", "weak"):
        every = [case for case in cases if case.strength == strength]
        kept = [case for case in every if case.sound - case.accuracy >= LEAST_COST]
        hidden = [case for case in kept if case.family not in GIVEN_AWAY]
        found[strength] = {
            "dropped": len(every) - len(kept),
            "all": _shares(kept),
            "without the families that the spec or the start gives away": _shares(hidden),
            "by family": {name: _shares([case for case in kept if case.family == name]) for name in FAMILIES},
            "by updates": {
                f"{low:,} to {high:,}": _shares([case for case in kept if low <= case.updates_of_base <= high])
                for low, high in ((1000, 2000), (2001, 5000), (5001, 15_000), (15_001, 150_000))
            },
        }
    return found


def _shares(cases: Sequence[Case]) -> dict[str, Any]:
    found: dict[str, Any] = {"n": len(cases)}
    for name, score in zip(_COLUMNS, _SCORES, strict=True):
        hits = sum(score(case) for case in cases)
        found[name] = {"hits": hits, "interval": interval(hits, len(cases))}
    return found


def text(found: dict[str, Any], cases: Iterable[Case]) -> list[str]:
    """Return the record's text, in Markdown."""
    low, high = found["false_alarms_interval"]
    lines = [
        f"**{found['sound']} sound specs**: {found['alarms']} with a cause named, {found['false_alarms']} of them "
        f"false alarms, whose `try` wins less than 1 point ({low:.1%} to {high:.1%}).",
        "",
    ]
    for strength in ("strong", "weak"):
        scores = found[strength]
        lines += [f"**{strength} faults** ({scores['dropped']} cost less than 3 points and are dropped)", ""]
        rows = [["all", scores["all"]]]
        rows += [[key, scores[key]] for key in scores if key.startswith("without")]
        rows += [[f"`{name}`", shares] for name, shares in scores["by family"].items() if shares["n"]]
        rows += [[f"{name} updates", shares] for name, shares in scores["by updates"].items() if shares["n"]]
        lines += [*record.table(["", "n", *_COLUMNS], [[name, *_cells(shares)] for name, shares in rows]), ""]
    missed = [case for case in cases if case.family and case.sound - case.accuracy >= LEAST_COST and not is_right(case)]
    lines += ["**Named wrongly**", ""]
    rows = [
        [
            str(case.number),
            f"{case.strength} {case.family}",
            str(case.named),
            f"{case.accuracy:.1%}",
            f"{case.sound:.1%}",
        ]
        for case in missed
    ]
    return [*lines, *record.table(["base", "fault", "named", "accuracy", "sound"], rows)]


def _cells(shares: dict[str, Any]) -> list[str]:
    cells = [str(shares["n"])]
    for name in _COLUMNS:
        low, high = shares[name]["interval"]
        cells.append(f"{shares[name]['hits'] / shares['n']:.1%} [{low:.0%}, {high:.0%}]")
    return cells
