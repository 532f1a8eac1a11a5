"""Cases of one base: its sound spec by a sweep of the rate, and the faults that are put in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.diagnosis.generator import (
    BEYOND,
    GRID,
    Fault,
    Half,
    Strength,
    base,
    faults,
    random_change,
    spec_of,
    with_rate,
)
from benchmarks.diagnosis.runs import Run, Runs
from costcurve.analysis.diagnosis.findings import Finding
from costcurve.analysis.diagnosis.network import diagnose_network
from costcurve.core.spec_diff import own_fields
from workers.training.network import ImageSets

# A sound spec's accuracy is at most this far below the best of its sweep.
SOUND = 0.02
# A base whose best rate does not bring it here, or that never reads a digit, is no base.
LEAST_ACCURACY, LEAST_CLASS = 0.8, 0.3
# Faults of a base that are measured, of each strength.
MEASURED: dict[Strength, int] = {"strong": 4, "weak": 3}


@dataclass(frozen=True, slots=True)
class Base:
    """A random spec without a rate: its sweep, and one of the sweep's sound points; None if it has none."""

    half: Half
    number: int
    sweep: Sequence[Run]
    sound: Run | None

    @property
    def best(self) -> Run:
        """The best point of the sweep."""
        return max(self.sweep, key=lambda run: run.accuracy)


def runs_of(folder: Path, half: Half, number: int, images: ImageSets | None) -> Runs:
    """Return the runs of a base, kept in this folder."""
    path = folder / half / f"{number:04}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    return Runs(path, images)


def swept(half: Half, number: int, runs: Runs) -> Base:
    """Return the base with its sweep, which continues while its best lies at the edge."""
    fields = base(half, number)
    points = {rate: runs.of(with_rate(fields, rate)) for rate in GRID}
    best = max(points, key=lambda rate: points[rate].accuracy)
    if best in BEYOND:
        points[BEYOND[best]] = runs.of(with_rate(fields, BEYOND[best]))
    most = max(run.accuracy for run in points.values())
    sound = [run for run in points.values() if run.accuracy >= most - SOUND]
    chosen = Random(f"sound {half} {number}").choice(sound)
    is_base = most >= LEAST_ACCURACY and max(run.least_class_accuracy for run in sound) >= LEAST_CLASS
    return Base(half, number, list(points.values()), chosen if is_base else None)


def faults_of(found: Base) -> Sequence[Fault]:
    """Return the faults that are measured for this base."""
    if found.sound is None:
        return []
    draw = Random(f"measured {found.half} {found.number}")
    every = faults(found.sound.spec, found.half, found.number)
    measured = []
    for strength, count in MEASURED.items():
        of_strength = [fault for fault in every if fault.strength == strength]
        measured += draw.sample(of_strength, min(count, len(of_strength)))
    return measured


@dataclass(frozen=True, slots=True)
class Case:
    """One spec that was diagnosed, and what came of its `try` and of a change drawn at random.

    `family` and `strength` are None for a sound spec. Accuracies are those at the end. Those of a test are None if no
    cause was named.
    """

    half: Half
    number: int
    family: str | None
    strength: Strength | None
    names: tuple[str, ...]
    spec: Mapping[str, Any]
    named: str | None
    confidence: str | None
    sound: float
    best: float
    accuracy: float
    tried: float | None
    random: float | None
    changes: Sequence[str]
    updates_of_base: int


def measured(found: Base, runs: Runs) -> Iterator[Case]:
    """Yield the cases of a base: its sound spec, then its faults."""
    if found.sound is None:
        return
    yield _case(found, found.sound, None, runs)
    for fault in faults_of(found):
        yield _case(found, runs.of(fault.spec), fault, runs)


def cause_of(run: Run) -> Finding | None:
    """Return the cause that the diagnosis names; None if it names none."""
    causes = [each for each in diagnose_network(run.course).findings if each.severity != "info"]
    return next((each for each in causes if each.code != "plateau"), None)


def _case(found: Base, run: Run, fault: Fault | None, runs: Runs) -> Case:
    finding = cause_of(run)
    fields = None if finding is None else finding.cure
    changed = None
    if fault is not None:
        draw = Random(f"random {found.half} {found.number} {fault.family} {fault.strength}")
        changed = {
            **run.spec.model_dump(mode="json", exclude={"effective_learning_rate"}),
            **random_change(run.spec, draw),
        }
    return Case(
        half=found.half,
        number=found.number,
        family=None if fault is None else fault.family,
        strength=None if fault is None else fault.strength,
        names=() if fault is None else fault.names,
        spec=own_fields(run.spec),
        named=None if finding is None else finding.code,
        confidence=None if finding is None else finding.confidence,
        sound=run.accuracy if found.sound is None else found.sound.accuracy,
        best=found.best.accuracy,
        accuracy=run.accuracy,
        tried=None if fields is None else runs.of(spec_of(fields)).accuracy,
        random=None if changed is None else runs.of(spec_of(changed)).accuracy,
        changes=[] if finding is None else [change.field for change in finding.repair.changes],
        updates_of_base=found.best.spec.total_steps,
    )
