"""A sweep's leaderboard: scores of all cells, details of one page."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, cast, func, select

from costcurve.analysis.sweep_ranking import (
    RANKINGS,
    Cell,
    CellJob,
    Ranking,
    RankKey,
    difference,
    figures_of,
    rank_key,
    spreads,
)
from costcurve.core.errors import InvalidRequest
from costcurve.core.status import JobStatus
from costcurve.core.sweep import Sweep, SweepSubmission
from costcurve.core.validation import FieldError
from costcurve.store.pagination import CellPage, CellQuery, page_of_cells
from costcurve.store.schema import jobs

_target: ColumnElement[Any] = jobs.c.spec["target"].as_float()
# A seed may exceed 32 bits, the size of PostgreSQL's INTEGER.
_seed: ColumnElement[Any] = cast(jobs.c.spec["seed"].as_string(), BigInteger)
# The figure that costcurve.analysis.sweep_ranking.RANKINGS names, computed as figures_of does.
_score = func.coalesce(jobs.c.best_accuracy, func.abs(jobs.c.result["final_output"].as_float() - _target))


def read_cells(tx: Connection, sweep: Sweep, query: CellQuery) -> CellPage:
    """Return one page of a sweep's cells, with ranks among all cells.

    Raises:
        InvalidRequest: a cell does not exist, or the cursor is not from a page of this order.
    """
    sweep_id, submission = sweep.id, sweep.submission
    if strange := [cell for cell in query.cells or () if cell >= submission.cells]:
        message = f"this sweep has no cell {strange[0]}; its {submission.cells:,} cells are counted from 0"
        raise InvalidRequest(message, errors=[FieldError("/query/cells", message)])
    ranking = _ranking(tx, sweep_id)
    if query.limit == 0:
        return CellPage(sweep, ranking, (), None)
    ranked = _ranked(tx, sweep_id, submission, ranking)
    ranks = {key[-1]: rank for rank, key in enumerate(ranked, start=1) if not key[0]}
    leader = next(iter(ranks), None)
    asked = [key for key in ranked if query.cells is None or key[-1] in query.cells]
    page, next_cursor = page_of_cells(asked, query)
    of_cells = _jobs(tx, sweep_id, [*page, *([] if leader is None else [leader])], ranking)

    def cell_of(number: int) -> Cell:
        own, figures = of_cells[number]
        settings, rank = submission.settings(number), ranks.get(number)
        compared = None if leader is None else difference(own, of_cells[leader][0], to_cell=leader)
        return Cell(number, settings, rank, tuple(own), spreads(figures), compared)

    return CellPage(sweep, ranking, tuple(cell_of(number) for number in page), next_cursor)


def _ranking(tx: Connection, sweep_id: str) -> Ranking:
    experiment = select(jobs.c.experiment).where(jobs.c.sweep_id == sweep_id).limit(1)
    return RANKINGS[tx.execute(experiment).scalar_one()]


def _ranked(tx: Connection, sweep_id: str, sweep: SweepSubmission, ranking: Ranking) -> list[RankKey]:
    """Return the rank keys of all cells, the best first."""
    succeeded = jobs.c.sweep_id == sweep_id, ~jobs.c.superseded, jobs.c.status == JobStatus.SUCCEEDED
    scores: dict[int, list[float]] = defaultdict(list)
    for cell, score in tx.execute(select(jobs.c.cell, _score).where(*succeeded)):
        scores[cell].append(score)
    repeats = sweep.repeats
    return sorted(rank_key(ranking, cell, scores.get(cell, ()), repeats=repeats) for cell in range(sweep.cells))


def _jobs(
    tx: Connection, sweep_id: str, cells: Sequence[int], ranking: Ranking
) -> dict[int, tuple[list[CellJob], list[dict[str, float]]]]:
    """Return each cell's jobs, by repeat, and the figures of their results.

    Superseded jobs are left out.
    """
    columns: list[ColumnElement[Any] | Column[Any]] = [jobs.c.cell, jobs.c.id, jobs.c.repeat, jobs.c.status]
    columns += [jobs.c.result, _seed.label("seed"), _target.label("target")]
    those = jobs.c.sweep_id == sweep_id, ~jobs.c.superseded, jobs.c.cell.in_(cells)
    found: dict[int, tuple[list[CellJob], list[dict[str, float]]]] = {cell: ([], []) for cell in cells}
    for row in tx.execute(select(*columns).where(*those).order_by(jobs.c.cell, jobs.c.repeat)):
        figures = {} if row.result is None else figures_of(row.result, row.target)
        own, all_figures = found[row.cell]
        own.append(CellJob(row.id, row.repeat, row.seed, JobStatus(row.status), figures.get(ranking.figure)))
        all_figures.append(figures)
    return found
