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

from benchmarks import record
from benchmarks.diagnosis.cases import Case
from benchmarks.diagnosis.generator import Half
from benchmarks.diagnosis.measure import cases_of, prepare
from benchmarks.diagnosis.scores import summary, text


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
    with get_context("spawn").Pool(options.processes, prepare, (not options.kept,)) as pool:
        found = []
        for number, cases in enumerate(pool.imap(of_base, numbers)):
            print(f"base {number}: {len(cases)} cases", file=sys.stderr, flush=True)
            found.append(cases)
    cases = [case for each in found for case in each]
    write(options.half, cases, len([each for each in found if each]))


def write(half: Half, cases: Sequence[Case], bases: int) -> None:
    """Write the record as Markdown and as JSON."""
    found = summary(cases)
    lines = [
        f"Half {half}: {bases} bases, each with a sweep of the rate, one of its sound points, four strong and three "
        "weak faults. Jobs of 1,000 to 150,000 updates, one run with the same seed for each arm. Shares with their 95 "
        "% intervals (Wilson).",
        "",
        *text(found, cases),
    ]
    path = record.write("diagnosis", "Diagnosis of networks: causes named, and repaired", lines)
    kept = {"half": half, "bases": bases, "summary": found, "cases": [asdict(case) for case in cases]}
    path.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
