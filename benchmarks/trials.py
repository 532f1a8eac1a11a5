"""Trials of a spec against itself: how often a verdict says that there is a difference.

Both cells of a trial have the same spec, written in two ways, with one standard deviation for all layers or one for
each. With the same seeds all differences are 0. To leave chance in them, the jobs of the second cell get other seeds in
the database before a worker starts. Everything else is as in any trial: the store, a service and a worker, the curves,
and the verdict that the service returns.
"""

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import record
from sqlalchemy import select, update

from costcurve import Client
from costcurve.cli.interrupt import Interruption
from costcurve.cli.local_service import LocalService
from costcurve.client.trial_types import Verdict
from costcurve.core.submission import Submission
from costcurve.core.trial import CHANGED, Proposal, TrialRequest
from costcurve.core.trial_limits import REPEATS
from costcurve.store import JobStore
from costcurve.store.database import Database
from costcurve.store.schema import jobs

SILENT = frozenset({"no_difference", "undecided"})
# The second cell of a trial with other seeds counts from here.
OTHER_SEEDS = 1_000_000
# Trials with other seeds for each trial that has the same seeds in both cells.
SAME_SEEDS = 10
NETWORK = {"experiment": "mnist", "layers": [784, 15, 10], "epochs": 3, "steps_per_epoch": 100, "learning_rate": 3.0}
# Networks whose results spread little, somewhat and widely from seed to seed, and neurons that start anywhere.
SPECS: Mapping[str, Mapping[str, Any]] = {
    "sound": {**NETWORK, "init": {"scheme": "normal", "std": 0.1}},
    "slow": {**NETWORK, "init": {"scheme": "normal", "std": 1.0}},
    "loses digits": {**NETWORK, "loss": "quadratic", "init": {"scheme": "normal", "std": 1.0, "output_bias": 3.0}},
    "learns on some seeds": {
        **NETWORK,
        "loss": "quadratic",
        "init": {"scheme": "normal", "std": 1.0, "output_bias": 6.0},
    },
    "neuron": {
        "experiment": "neuron",
        "loss": "quadratic",
        "epochs": 100,
        "learning_rate": 1.0,
        "init": {"scheme": "normal", "std": 4.0},
    },
}


def main() -> None:
    """Train `--trials` trials of each spec with other seeds, and a tenth of them with the same; write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40, help="trials of each spec with other seeds")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="seeds of each trial")
    arguments = parser.parse_args()
    started = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        queued = submitted(home, arguments.trials, arguments.repeats)
        with served(home) as client:
            verdicts = {kind: [judged(client, sweep_id) for sweep_id in ids] for kind, ids in queued.items()}
    others = [verdict for (_, is_shifted), found in verdicts.items() if is_shifted for verdict in found]
    wrong = found_different(others)
    text = [
        f"{arguments.repeats} seeds a trial; networks [784, 15, 10] with {NETWORK['epochs']} epochs of "
        f"{NETWORK['steps_per_epoch']} updates, neurons with {SPECS['neuron']['epochs']} updates; one worker, "
        f"{(perf_counter() - started) / 60:.0f} minutes.",
        f"With other seeds in the second cell {wrong} of {len(others)} trials ({wrong / len(others):.1%}) say anything "
        "but `no_difference` or `undecided`.",
        "",
        *record.table(
            [
                "spec",
                "seeds of the second cell",
                "trials",
                "mean at the end",
                "mean over the course",
                "outcomes",
                "found different at the end",
                "over the course",
            ],
            [row(name, is_shifted, found) for (name, is_shifted), found in verdicts.items()],
        ),
    ]
    record.write("trials", "Verdicts on a spec against itself", text)


def submitted(home: Path, trials: int, repeats: int) -> Mapping[tuple[str, bool], Sequence[str]]:
    """Queue all trials; return the ids of their sweeps by spec and whether the second cell has other seeds.

    No seed is in two trials of a spec.
    """
    database = Database(f"sqlite:///{home}/costcurve.db")
    store, queued = JobStore(database), {}
    for name, spec in SPECS.items():
        for is_shifted, count in ((True, trials), (False, max(1, trials // SAME_SEEDS))):
            ids = [trial(store, spec, number * repeats, repeats) for number in range(count)]
            if is_shifted:
                shift(database, ids)
            queued[name, is_shifted] = ids
    database.close()
    return queued


def trial(store: JobStore, spec: Mapping[str, Any], seed: int, repeats: int) -> str:
    """Queue a trial of a spec against itself; return the id of its sweep."""
    job = store.submit(Submission.model_validate({"spec": {**spec, "seed": seed}})).job
    store.cancel(job.id)
    init, layers = spec["init"], len(spec.get("layers", (1, 1))) - 1
    same = {"init": {**init, "std": [init["std"]] * layers}}
    return store.submit_trial(job.id, TrialRequest(repeats=repeats), lambda: Proposal(None, same)).sweep.id


def shift(database: Database, sweep_ids: Sequence[str]) -> None:
    """Give the jobs in the second cells of these sweeps other seeds."""
    second = jobs.c.sweep_id.in_(sweep_ids), jobs.c.cell == CHANGED
    with database.write() as tx:
        for row in tx.execute(select(jobs.c.pk, jobs.c.spec).where(*second)).all():
            spec = {**row.spec, "seed": row.spec["seed"] + OTHER_SEEDS}
            tx.execute(update(jobs).where(jobs.c.pk == row.pk).values(spec=spec))


@contextmanager
def served(home: Path) -> Iterator[Client]:
    """Run a service and one worker on the database in this folder."""
    os.environ["COSTCURVE_DATABASE_URL"] = f"sqlite:///{home}/costcurve.db"
    with LocalService(home=home, port=0, workers=1, log=home / "log") as local, Client(local.url) as client:
        local.wait_until_ready(Interruption())
        yield client


def judged(client: Client, sweep_id: str) -> Verdict:
    """Return the verdict of a trial once it has ended."""
    verdict = client.wait_for_verdict(sweep_id)
    if verdict.n == 0:
        raise RuntimeError(f"the trial {sweep_id} has no pair of runs")
    return verdict


def row(name: str, is_shifted: bool, verdicts: Sequence[Verdict]) -> list[str]:
    """Return a row of the record's table."""
    outcomes = Counter(verdict.outcome for verdict in verdicts)
    wrong = [sum(verdict.judgements[place].outcome not in SILENT for verdict in verdicts) for place in (0, 1)]
    return [
        name,
        "others" if is_shifted else "the same",
        str(len(verdicts)),
        spread(verdicts, 0),
        spread(verdicts, 1),
        ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items())),
        *(f"{count} ({count / len(verdicts):.1%})" for count in wrong),
    ]


def found_different(verdicts: Sequence[Verdict]) -> int:
    """Return the number of verdicts that say that there is a difference."""
    return sum(verdict.outcome not in SILENT for verdict in verdicts)


def spread(verdicts: Sequence[Verdict], place: int) -> str:
    """Return the lowest and the highest mean of the first cell, in the judgement at this place."""
    means = [found.means[0] for verdict in verdicts if (found := verdict.judgements[place]).means is not None]
    return f"{min(means):.3f} … {max(means):.3f}"


if __name__ == "__main__":
    main()
