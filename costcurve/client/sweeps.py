# ruff: noqa: D417 - these are the client's own docstrings, and its callers never see `remote`
"""What the client can do with sweeps, each operation once, as steps (exchange.py), like those in operations.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Unpack

from costcurve.client.arguments import checked_key, metric_names, swept_values
from costcurve.client.curves import Granularity, Metrics
from costcurve.client.errors import SweepWaitTimeout
from costcurve.client.jobs import AnyGivenSpec, JobFields, submission_body
from costcurve.client.plain_values import plain
from costcurve.client.polling import until_ended
from costcurve.client.request import Call, Query, as_bytes, as_model, picture_type, sweep_path
from costcurve.client.transport import Remote, Steps
from costcurve.client.types import CellPage, Sweep, SweepPage, SweepPreset, SweepPresetList


def submit_sweep(
    remote: Remote,
    /,
    spec: AnyGivenSpec | None = None,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    repeats: int | None = None,
    idempotency_key: str | None = None,
    **fields: Unpack[JobFields],
) -> Steps[Sweep]:
    """Queue one job for each cell of a grid and each repeat: all of them, or none.

    Args:
        spec: what all cells share; with a preset, the fields in which they differ from it.
        grid: the values of each swept field of the spec, such as `{"loss": ["quadratic", "cross_entropy"]}`.
        repeats: jobs for each cell, with the seeds seed, seed + 1 and so on, the same in every cell. If None, as many
            as the preset says, or 1.
        idempotency_key: as for `submit`.
        fields: as for `submit`; they hold for every job. `preset` may also be one of `sweep_presets`.

    Raises:
        ApiError: the service refused; status 422, and `errors` names each bad field, `/grid/loss/1` for instance.
        ServiceUnreachable: as for `submit`.
    """
    body = {**submission_body(spec, fields), "grid": swept_values(grid)}
    if repeats is not None:
        body["repeats"] = plain(repeats, "repeats")
    return remote.answer(Call("POST", "/v1/sweeps", as_model(Sweep), body=body, key=checked_key(idempotency_key)))


def sweep_presets(remote: Remote, /) -> Steps[list[SweepPreset]]:
    """The ready sweeps, by whose names `submit_sweep` knows them."""
    listed = yield from remote.answer(Call("GET", "/v1/sweep-presets", as_model(SweepPresetList)))
    return listed.items


def get_sweep(remote: Remote, /, sweep_id: str, *, leaderboard: int | None = None) -> Steps[Sweep]:
    """The sweep as it stands, and its best cells; `list` with its `sweep_id` gives its jobs.

    Args:
        sweep_id: the sweep.
        leaderboard: how many of the best cells, 0 to 200; 10 if None.
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
    """One page of a sweep's cells: what each sets, its jobs, the mean and the spread of what they came to.

    Args:
        sweep_id: the sweep.
        order: `rank`, the best first, if None; or `cell`, by their numbers, which stays while jobs go on.
        limit: 1 to 200; 50 if None.
        cursor: the `next_cursor` of the page before.
    """
    query: Query = {"order": order, "limit": limit, "cursor": cursor}
    return remote.answer(Call("GET", sweep_path(sweep_id, "/cells"), as_model(CellPage), query=query))


def list_sweeps(remote: Remote, /, *, limit: int | None = None, cursor: str | None = None) -> Steps[SweepPage]:
    """One page of sweeps, the newest first.

    Args:
        limit: 1 to 200; 50 if None.
        cursor: the `next_cursor` of the page before.
    """
    query = {"limit": limit, "cursor": cursor}
    return remote.answer(Call("GET", "/v1/sweeps", as_model(SweepPage), query=query))


def cancel_sweep(remote: Remote, /, sweep_id: str) -> Steps[Sweep]:
    """Cancel all of its jobs that have not ended, as `cancel` does with one. Twice is no error."""
    return remote.answer(Call("POST", sweep_path(sweep_id, "/cancel"), as_model(Sweep)))


def retry_sweep(remote: Remote, /, sweep_id: str) -> Steps[Sweep]:
    """Queue a new job in place of each that failed, with the same spec and the same seed. The new ones count instead.

    Where nothing failed, nothing happens. It is sent once: new jobs may fail within seconds, and a second sending would
    queue them again.

    Raises:
        CostCurveError: with `uncertain`, when no answer says whether it was done.
    """
    return remote.answer(Call("POST", sweep_path(sweep_id, "/retry"), as_model(Sweep), repeatable=False))


def plot_sweep(
    remote: Remote,
    /,
    sweep_id: str,
    *,
    format: Literal["svg", "png"] = "svg",  # noqa: A002 - the word everybody looks for
    metrics: Metrics | None = None,
    granularity: Granularity | None = None,
    best: int | None = None,
    cells: Sequence[int] | None = None,
    log: bool = False,
    title: str | None = None,
) -> Steps[bytes]:
    """A picture of some cells of a sweep: of each the mean curve, and a band that shows how far its repeats spread.

    Args:
        sweep_id: the sweep.
        format: `svg` or `png`.
        metrics: what to draw, a diagram for each; the cost if None.
        granularity: `epoch` or `step`; the service's default, `epoch`, if None.
        best: how many of the best cells, 1 to 16; 8 if None.
        cells: instead of the best those with these numbers, at most 16.
        log: whether the values stand on a logarithmic axis.
        title: stands above; made from the sweep if None.
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
    """The sweep, once all of its jobs have ended, however they ended: look at its `counts`. `get_sweep` tells the best.

    Args:
        sweep_id: the sweep.
        timeout: seconds after which to stop waiting; None waits as long as it takes.
        poll: the longest pause between two looks, in seconds; the first looks come quicker.
        on_update: called with the sweep at the first look, and whenever its counts have changed.

    Raises:
        SweepWaitTimeout: some of its jobs have not ended in time. They go on.
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
