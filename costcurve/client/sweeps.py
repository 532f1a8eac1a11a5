# ruff: noqa: D417 - the client shows these docstrings, and its callers do not pass `remote`
"""Operations of the client on sweeps, as steps (transport.py)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Unpack

from costcurve.client.arguments import checked_key, metric_names, spec_fields, swept_values
from costcurve.client.curves import Granularity, Metrics
from costcurve.client.errors import SweepWaitTimeout
from costcurve.client.jobs import AnyGivenSpec, JobFields, submission_body
from costcurve.client.plain_values import plain
from costcurve.client.polling import until_ended
from costcurve.client.request import Call, Query, as_bytes, as_model, picture_type, sweep_path
from costcurve.client.sweep_types import (
    CellPage,
    Sweep,
    SweepPage,
    SweepPreset,
    SweepPresetList,
)
from costcurve.client.transport import Remote, Steps


def submit_sweep(
    remote: Remote,
    /,
    spec: AnyGivenSpec | None = None,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    variants: Sequence[AnyGivenSpec] | None = None,
    repeats: int | None = None,
    idempotency_key: str | None = None,
    **fields: Unpack[JobFields],
) -> Steps[Sweep]:
    """Queue one job for each repeat of each cell of a grid, and of each variant.

    The service queues all of the jobs, or none of them.

    Args:
        spec: fields that all cells share. With a preset, only the fields that differ from the preset.
        grid: the values of each swept field of the spec, such as `{"loss": ["quadratic", "cross_entropy"]}`.
        variants: fields of the spec that differ, one cell for each mapping. These cells come after those of the grid.
        repeats: jobs for each cell. They have the seeds seed, seed + 1 and so on, the same in every cell. If None, the
            number in the preset, or 1.
        idempotency_key: as for `submit`.
        fields: as for `submit`, for every job of the sweep. `preset` may also be the name of one of `sweep_presets`.

    Raises:
        ApiError: the service refused. Status 422 if the sweep is not valid; `errors` then lists each rejected field,
            such as `/grid/loss/1`.
        ServiceUnreachable: as for `submit`.
    """
    body = {**submission_body(spec, fields), "grid": swept_values(grid)}
    if variants is not None:
        body["variants"] = [spec_fields(variant, "variants") for variant in variants]
    if repeats is not None:
        body["repeats"] = plain(repeats, "repeats")
    return remote.answer(Call("POST", "/v1/sweeps", as_model(Sweep), body=body, key=checked_key(idempotency_key)))


def sweep_presets(remote: Remote, /) -> Steps[list[SweepPreset]]:
    """Return the ready sweeps, which `submit_sweep` accepts by name as `preset`."""
    listed = yield from remote.answer(Call("GET", "/v1/sweep-presets", as_model(SweepPresetList)))
    return listed.items


def get_sweep(remote: Remote, /, sweep_id: str, *, leaderboard: int | None = None) -> Steps[Sweep]:
    """Return the sweep in its current state, with its best cells.

    `list` with the `sweep_id` returns the jobs of the sweep.

    Args:
        sweep_id: id of the sweep.
        leaderboard: number of best cells to return, 0 to 200; 10 if None.
    """
    return remote.answer(Call("GET", sweep_path(sweep_id), as_model(Sweep), query={"leaderboard": leaderboard}))


def sweep_cells(
    remote: Remote,
    /,
    sweep_id: str,
    *,
    order: Literal["rank", "cell"] | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Steps[CellPage]:
    """Return one page of the cells of a sweep.

    Each cell has its settings, its jobs, and the mean and spread of their results.

    Args:
        sweep_id: id of the sweep.
        order: `rank` for the best cell first, the default; or `cell` for the order of cell numbers, which does not
            change while jobs are running.
        limit: cells a page, 1 to 200; 50 if None.
        cursor: the `next_cursor` of the previous page; None for the first page.
    """
    query: Query = {"order": order, "limit": limit, "cursor": cursor}
    return remote.answer(Call("GET", sweep_path(sweep_id, "/cells"), as_model(CellPage), query=query))


def list_sweeps(remote: Remote, /, *, limit: int | None = None, cursor: str | None = None) -> Steps[SweepPage]:
    """Return one page of sweeps, the newest sweep first.

    Args:
        limit: sweeps a page, 1 to 200; 50 if None.
        cursor: the `next_cursor` of the previous page; None for the first page.
    """
    query = {"limit": limit, "cursor": cursor}
    return remote.answer(Call("GET", "/v1/sweeps", as_model(SweepPage), query=query))


def cancel_sweep(remote: Remote, /, sweep_id: str) -> Steps[Sweep]:
    """Cancel all jobs of the sweep that have not ended.

    Each job is cancelled as by `cancel`. Cancelling a sweep twice is not an error.
    """
    return remote.answer(Call("POST", sweep_path(sweep_id, "/cancel"), as_model(Sweep)))


def retry_sweep(remote: Remote, /, sweep_id: str) -> Steps[Sweep]:
    """Queue a new job for each failed job of the sweep.

    A new job has the spec and the seed of the failed one, and replaces it in all counts and means. If no job failed,
    nothing happens. The client does not repeat a request that the service may have started: new jobs may fail within
    seconds, and a second request would queue them again.

    Raises:
        CostCurveError: with `uncertain`, if no response says whether the jobs were queued.
    """
    return remote.answer(Call("POST", sweep_path(sweep_id, "/retry"), as_model(Sweep), repeatable=False))


def plot_sweep(
    remote: Remote,
    /,
    sweep_id: str,
    *,
    format: Literal["svg", "png"] = "svg",  # noqa: A002 - the usual name for it
    metrics: Metrics | None = None,
    granularity: Granularity | None = None,
    best: int | None = None,
    cells: Sequence[int] | None = None,
    log: bool = False,
    title: str | None = None,
) -> Steps[bytes]:
    """Return a plot of cells of a sweep, a curve each.

    A cell is drawn as the mean curve of its repeats, in a band that shows their spread.

    Args:
        sweep_id: id of the sweep.
        format: `svg` or `png`.
        metrics: metrics to plot, with one diagram each; the cost if None.
        granularity: `epoch` or `step`; the service's default, `epoch`, if None.
        best: number of best cells to plot, 1 to 16; 8 if None.
        cells: numbers of the cells to plot instead of the best ones, at most 16.
        log: True for a logarithmic value axis.
        title: title of the plot; made from the sweep if None.
    """
    query: Query = {
        "metrics": metric_names(metrics),
        "granularity": granularity,
        "best": best,
        "cells": None if cells is None else ",".join(map(str, plain(cells, "cells"))),
        "log": log,
        "title": title,
    }
    call = Call("GET", sweep_path(sweep_id, f"/curve.{format}"), as_bytes, query=query, media_type=picture_type(format))
    return remote.answer(call)


def wait_for_sweep(
    remote: Remote,
    /,
    sweep_id: str,
    *,
    timeout: float | None = None,
    poll: float = 1.0,
    on_update: Callable[[Sweep], object] | None = None,
) -> Steps[Sweep]:
    """Wait until all jobs of the sweep have ended, then return it.

    Its jobs may have succeeded, failed or been cancelled: check its `counts`. The sweep returned has no best cells; use
    `get_sweep` for them.

    Args:
        sweep_id: id of the sweep.
        timeout: seconds until the client stops waiting; None waits without limit.
        poll: longest pause between two polls, in seconds. The first pauses are shorter.
        on_update: called with the sweep after the first poll and after each change of its counts.

    Raises:
        SweepWaitTimeout: some of its jobs did not end before the timeout. They continue.
    """
    call = Call("GET", sweep_path(sweep_id), as_model(Sweep), query={"leaderboard": 0})
    return until_ended(
        remote,
        lambda _, deadline: remote.answer(call, deadline=deadline),
        timeout=timeout,
        poll=poll,
        on_update=on_update,
        too_late=SweepWaitTimeout,
    )
