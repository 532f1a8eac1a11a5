"""Trainings that were run once and kept, as JSON lines: a benchmark that was stopped continues where it was."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

from costcurve.analysis.diagnosis.training_course import NetworkCourse
from costcurve.core.curve import Curve
from costcurve.core.errors import JobFailure
from costcurve.core.job import Failure
from costcurve.core.spec import MnistSpec, spec_hash
from workers.engines import fused_cpu
from workers.training.network import ImageSets


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training: its figures before the first update and after each epoch, or the reason of its failure."""

    spec: MnistSpec
    start: Mapping[str, float] | None
    curve: Curve
    failure: Failure | None
    seconds: float

    @property
    def accuracy(self) -> float:
        """Accuracy on the test images at the end; that of a constant guess if the training failed."""
        return self.curve.series["accuracy"][-1] if self.failure is None else 0.1

    @property
    def least_class_accuracy(self) -> float:
        """Accuracy at the end on the digit that is read worst."""
        return self.curve.series["least_class_accuracy"][-1] if self.failure is None else 0.0

    @property
    def course(self) -> NetworkCourse:
        """The course that a diagnosis reads."""
        return NetworkCourse.of(self.spec, self.start, self.curve, is_over=True, failure=self.failure)


class Runs:
    """The runs of one base, in a file with one line for each."""

    def __init__(self, path: Path, images: ImageSets | None) -> None:
        """Read the runs of a file; without `images` no other can be made."""
        self._path, self._images = path, images
        self._kept: dict[str, dict[str, Any]] = {}
        if path.exists():
            # A program that was killed may have left a part of the last line.
            whole = path.read_bytes().rpartition(b"\n")[0]
            path.write_bytes(whole + b"\n" if whole else b"")
            for line in whole.splitlines():
                kept = json.loads(line)
                self._kept[kept["spec_hash"]] = kept

    def of(self, spec: MnistSpec) -> Run:
        """Return the run of this spec; train it if it is not kept."""
        name = spec_hash(spec)
        if name not in self._kept:
            if self._images is None:
                raise LookupError(f"{self._path} has no run of {name}")
            self._kept[name] = {"spec_hash": name, **_trained(spec, self._images)}
            with self._path.open("a") as file:
                file.write(json.dumps(self._kept[name]) + "\n")
        kept = self._kept[name]
        failure = None if kept["failure"] is None else Failure(**kept["failure"])
        return Run(spec, kept["start"], Curve(0, kept["curve"]), failure, kept["seconds"])


def _trained(spec: MnistSpec, images: ImageSets) -> dict[str, Any]:
    """Train a spec; return what is kept of it."""
    start, curves, failure, began = None, [], None, process_time()
    try:
        for report in fused_cpu.train_mnist(spec, images):
            start = report.start if start is None else start
            curves.append(report.curve)
    except JobFailure as error:
        failure = {"code": error.code, "message": str(error)}
    return {
        "start": None if start is None else dict(start),
        "curve": Curve.joined(curves).series,
        "failure": failure,
        "seconds": process_time() - began,
    }
