"""`python -m tests.chaos [SCENARIO…]`: the scenarios in full; what they come to goes to benchmarks/records/chaos.md."""

import argparse
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from benchmarks import record
from tests.chaos.arena import arena
from tests.chaos.scenarios import SCENARIOS
from tests.conftest import ROOT, local_mnist
from tests.helpers import reaper

RECORDED = record.RECORDS / "chaos.json"
# Where the programs' logs stay of a scenario that did not hold.
LOGS = ROOT / "build" / "chaos"


def main() -> int:
    """Run scenarios; 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)} (default: all)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="only this one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="how much of it, instead of the full measure; not recorded")
    given = parser.parse_args()
    if unknown := set(given.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    reaper.begin()
    all_held = True
    for name in given.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        for kind in scenario.databases:
            if given.database not in (None, kind):
                continue
            print(f"{name} on {kind} …", flush=True)
            started = monotonic()
            with arena(
                kind,
                local_mnist(),
                seed=given.seed,
                environment=scenario.environment,
                tight=scenario.tight,
                lossy=scenario.lossy,
            ) as ground:
                held = False
                try:
                    outcome = scenario.run(ground, count=given.count or scenario.full)
                    held = not outcome.problems
                finally:
                    if not held:
                        _keep(ground.deployment.home, f"{name}-{kind}")
                figures = ", ".join(f"{key}: {value}" for key, value in outcome.figures.items())
                verdict = "held" if held else "DID NOT HOLD: " + "; ".join(outcome.problems[:20])
                print(f"  {verdict} ({monotonic() - started:.0f} s; {figures})", flush=True)
            all_held = all_held and held
            if given.count is None:
                _record(f"{name} {kind}", verdict, figures, given.seed)
    return 0 if all_held else 1


def _keep(home: Path, name: str) -> None:
    """Copy the logs of its programs from this home."""
    shutil.rmtree(LOGS / name, ignore_errors=True)
    (LOGS / name).mkdir(parents=True)
    for log in home.glob("*.log"):
        shutil.copy(log, LOGS / name)
    print(f"  its logs are in {LOGS / name}", flush=True)


def _record(row: str, verdict: str, figures: str, seed: int) -> None:
    """Add a row to what is recorded: by now that may be more than it was when this program started."""
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    recorded[row] = {
        "verdict": verdict,
        "figures": figures,
        "seed": seed,
        "seen": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": record.commit(),
    }
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    _write(recorded)


def _write(recorded: dict[str, dict[str, str]]) -> None:
    rows = [
        [scenario.shows, kind, f"**{found['verdict']}**", found["figures"], f"{found['commit'][:9]}, {found['seen']}"]
        for name, scenario in SCENARIOS.items()
        for kind in scenario.databases
        if (found := recorded.get(f"{name} {kind}")) is not None
    ]
    text = [
        "Each row is one scenario of `tests/chaos/`, in full; `make chaos` runs all of them. "
        "Two may have run side by side.",
        "",
    ]
    header = ["what is done, and what must hold", "database", "verdict", "figures", "commit"]
    record.write(
        "chaos",
        "Chaos: what must hold when things go wrong",
        [*text, *record.table(header, rows)],
        command="`make chaos`",
    )


if __name__ == "__main__":
    sys.exit(main())
