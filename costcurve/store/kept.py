"""What writes add to what is kept of jobs: points of curves, where a network started, and the network in the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Connection

from costcurve.core.curve import Granularity
from costcurve.core.writes import Write
from costcurve.store.curve_chunks import RUNS, run_of, write_runs
from costcurve.store.model_rows import row_of, write_models
from costcurve.store.starts import start_columns, write_starts

_Columns = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """The rows that one write adds, encoded; None where it has nothing of that kind."""

    runs: Mapping[Granularity, _Columns | None]
    start: _Columns | None
    model: _Columns | None

    @classmethod
    def of(cls, write: Write) -> Self:
        """What this write adds."""
        job_pk = write.claim.job_pk
        return cls(
            runs={"epoch": run_of(job_pk, write.curve), "step": run_of(job_pk, write.steps)},
            start=None if write.start is None else start_columns(job_pk, write.start),
            model=None if write.model is None else row_of(job_pk, write.model),
        )


def write_kept(tx: Connection, kept: Sequence[Kept]) -> None:
    """Add the rows of some writes, of each kind with one statement or two; with none where there are none."""
    for granularity in RUNS:
        runs = (each.runs[granularity] for each in kept)
        write_runs(tx, granularity, [run for run in runs if run is not None])
    write_starts(tx, [each.start for each in kept if each.start is not None])
    write_models(tx, [each.model for each in kept if each.model is not None])
