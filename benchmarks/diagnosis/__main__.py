"""Put faults into sound specs, diagnose them, and run what the diagnosis proposes.

Thresholds are set on half A; the figures come from half B. Every training is kept in a folder, so that a run that was
stopped continues where it was, and another version of the diagnosis trains only what it proposes differently.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import record
from engines import load_images

from benchmarks.diagnosis.cases import Case, measured, runs_of, swept
from benchmarks.diagnosis.generator import Half
from benchmarks.diagnosis.scores import summary, text
from workers.training.network import ImageSets

_images: list[ImageSets] = []


def main() -> None:
    """Measure the bases, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("A", "B"), default="B")
    parser.add_argument("--bases", type=int, default=240)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/.diagnosis-runs"))
    parser.add_argument("--kept", action="store_true", help="train nothing: use the bases that are wholly kept")
    options = parser.parse_args()
    numbers = range(options.bases)
    of_base = partial(cases_of, options.folder, options.half, trains=not options.kept)
    with get_context("spawn").Pool(options.processes, _prepare, (not options.kept,)) as pool:
        found = []
        for number, cases in enumerate(pool.imap(of_base, numbers)):
            print(f"base {number}: {len(cases)} cases", file=sys.stderr, flush=True)
            found.append(cases)
    cases = [case for each in found for case in each]
    write(options.half, cases, len([each for each in found if each]))


def cases_of(folder: Path, half: Half, number: int, *, trains: bool) -> Sequence[Case]:
    """Return the cases of one base; none if it is no base, or if it is not wholly kept and must not train."""
    runs = runs_of(folder, half, number, _images[0] if trains else None)
    try:
        return list(measured(swept(half, number, runs), runs))
    except LookupError:
        return []


def write(half: Half, cases: Sequence[Case], bases: int) -> None:
    """Write the record as Markdown and as JSON."""
    found = summary(cases)
    lines = [
        f"Half {half}: {bases} bases, each with a sweep of the rate, one of its sound points, four strong and three weak "
        "faults. Jobs of 1,000 to 150,000 updates, one run with the same seed for each arm. Shares with their 95 % "
        "intervals (Wilson).",
        "",
        *text(found, cases),
    ]
    path = record.write("diagnosis", "Diagnosis of networks: causes named, and repaired", lines)
    kept = {"half": half, "bases": bases, "summary": found, "cases": [asdict(case) for case in cases]}
    path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


def _prepare(trains: bool) -> None:
    torch.set_num_threads(1)
    if trains:
        _images.append(load_images())


if __name__ == "__main__":
    main()
