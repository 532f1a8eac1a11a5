"""Put faults into sound specs, diagnose them, and run what the diagnosis proposes.

Thresholds are set on the parts A and B of the seeds; the figures come from part C. Every training is kept in a folder.
So a run that was stopped continues where it was, and another version of the diagnosis trains only what it proposes
differently.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from benchmarks import record
from benchmarks.diagnosis.cases import Case
from benchmarks.diagnosis.generator import Part
from benchmarks.diagnosis.measure import cases_of, prepare
from benchmarks.diagnosis.scores import summary, text


def main() -> None:
    """Measure the bases, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("A", "B", "C"), default="C")
    parser.add_argument("--bases", type=int, default=240)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/.diagnosis-runs"))
    parser.add_argument("--kept", action="store_true", help="train nothing: use the bases that are wholly kept")
    options = parser.parse_args()
    numbers = range(options.bases)
    of_base = partial(cases_of, options.folder, options.part, trains=not options.kept)
    with get_context("spawn").Pool(options.processes, prepare, (not options.kept,)) as pool:
        found = []
        for number, cases in enumerate(pool.imap(of_base, numbers)):
            print(f"base {number}: {len(cases)} cases", file=sys.stderr, flush=True)
            found.append(cases)
    cases = [case for each in found for case in each]
    write(options.part, cases, len([each for each in found if each]))


def write(part: Part, cases: Sequence[Case], bases: int) -> None:
    """Write the record as Markdown and as JSON."""
    found = summary(cases)
    lines = [
        f"Part {part} of the seeds: {bases} bases, each with a sweep of the rate, one of its sound points, four strong "
        "and three weak faults. Jobs of 1,000 to 150,000 updates, one run with the same seed for each arm. Shares with "
        "their 95 % intervals (Wilson).",
        "",
        *text(found, cases),
    ]
    path = record.write("diagnosis", "Diagnosis of networks: causes named, and repaired", lines)
    kept = {"part": part, "bases": bases, "summary": found, "cases": [asdict(case) for case in cases]}
    path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
