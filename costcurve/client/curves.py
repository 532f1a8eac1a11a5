# ruff: noqa: D417 - these are the client's own docstrings, and its callers never see `remote`
"""What the client can do with results, each operation once, as steps (exchange.py), like those in operations.py."""

from collections.abc import Iterable, Sequence
from typing import Literal

from costcurve.client.arguments import checked_ids, metric_names
from costcurve.client.request import CSV, TEXT, Call, Query, as_bytes, as_model, as_text, job_path, picture_type
from costcurve.client.transport import Remote, Steps
from costcurve.client.types import Comparison, Curve

Metrics = str | Iterable[str]
Granularity = Literal["epoch", "step"]


def curve(
    remote: Remote,
    /,
    job_id: str,
    metrics: Metrics | None = None,
    *,
    granularity: Granularity = "epoch",
    first: int | None = None,
    last: int | None = None,
    max_points: int | None = None,
) -> Steps[Curve]:
    """The job's curve from x = first to x = last, as far as it is trained. Ask from its `next_from` for what is new.

    Args:
        job_id: the job.
        metrics: names, or one text with commas between them; all metrics if None.
        granularity: `epoch`, or `step` for the mean, lowest and highest cost of each hundred steps; a neuron has a
            point for each step anyway.
        first: where to start; at the beginning if None.
        last: where to end, inclusive; at the newest point if None.
        max_points: if there are more, only that many come, and `sampled` says so: recorded points, among them the first
            and the last, and every metric's lowest and highest in each stretch. Every point if None.

    Raises:
        ApiError: status 422, when there is no such metric, or max_points are too few for so many metrics.
    """
    query: Query = {
        "metrics": metric_names(metrics),
        "granularity": granularity,
        "from": first,
        "to": last,
        "max_points": max_points,
    }
    call = Call("GET", job_path(job_id, "/curve"), as_model(Curve), query=query)
    page = yield from remote.answer(call)
    if page.sampled or len(page.x) >= page.total_points:
        return page
    x, series, total = page.x, page.series, page.total_points
    while len(page.x) < page.total_points:
        query = {**query, "from": page.next_from}
        page = yield from remote.answer(Call("GET", call.path, call.parse, query=query))
        if not page.x:
            break  # the job was handed back, and starts anew
        x.extend(page.x)
        for metric, values in page.series.items():
            series[metric].extend(values)
    return page.model_copy(update={"x": x, "series": series, "total_points": max(total, len(x))})


def curve_csv(
    remote: Remote,
    /,
    job_id: str,
    metrics: Metrics | None = None,
    *,
    granularity: Granularity = "epoch",
    max_points: int | None = None,
) -> Steps[str]:
    """The curve as CSV, with a header; infinite values are `inf`. Arguments as for `curve`."""
    query: Query = {"metrics": metric_names(metrics), "granularity": granularity, "max_points": max_points}
    return remote.answer(Call("GET", job_path(job_id, "/curve.csv"), as_text, query=query, media_type=CSV))


def compare(
    remote: Remote,
    /,
    job_ids: Sequence[str],
    metrics: Metrics | None = None,
    *,
    granularity: Granularity = "epoch",
    first: int | None = None,
    last: int | None = None,
    max_points: int | None = None,
) -> Steps[Comparison]:
    """Some jobs (2 to 16) side by side: in what their specs differ, what they came to, and their curves on one axis.

    Args:
        job_ids: the jobs.
        metrics: as for `curve`; those that all of the jobs record if None.
        granularity: as for `curve`.
        first: where to start; at the beginning if None.
        last: where to end, inclusive; at the newest point if None.
        max_points: as for `curve`, but 1,000 (or as many as are needed) if None; 10,000 at most.

    Raises:
        ApiError: status 404 when there is no such job, 422 as for `curve`.
    """
    query: Query = {
        "job": checked_ids(job_ids),
        "metrics": metric_names(metrics),
        "granularity": granularity,
        "from": first,
        "to": last,
        "max_points": max_points,
    }
    return remote.answer(Call("GET", "/v1/compare", as_model(Comparison), query=query))


def compare_csv(
    remote: Remote,
    /,
    job_ids: Sequence[str],
    metrics: Metrics | None = None,
    *,
    granularity: Granularity = "epoch",
    max_points: int | None = None,
) -> Steps[str]:
    """The curves of some jobs as CSV: x, and a column `{job_id}.{metric}` for each. Every point, but for max_points."""
    names = metric_names(metrics)
    query: Query = {"job": checked_ids(job_ids), "metrics": names, "granularity": granularity, "max_points": max_points}
    return remote.answer(Call("GET", "/v1/compare.csv", as_text, query=query, media_type=CSV))


def plot(
    remote: Remote,
    /,
    job_ids: str | Sequence[str],
    *,
    format: Literal["svg", "png"] = "svg",  # noqa: A002 - the word everybody looks for
    metrics: Metrics | None = None,
    granularity: Granularity = "epoch",
    log: bool = False,
    title: str | None = None,
) -> Steps[bytes]:
    """A picture of the curves of one job, or of several jobs (2 to 16, of one experiment) on the same axes.

    Args:
        job_ids: the job, or the jobs.
        format: `svg` or `png`.
        metrics: what to draw, a diagram for each; the cost if None.
        granularity: `epoch`, or `step` for the mean cost of each hundred steps, in a band from lowest to highest.
        log: whether the values stand on a logarithmic axis.
        title: stands above; made from the specs if None.
    """
    jobs = checked_ids([job_ids] if isinstance(job_ids, str) else job_ids)
    query: Query = {"metrics": metric_names(metrics), "granularity": granularity, "log": log, "title": title}
    if len(jobs) == 1:
        path = job_path(jobs[0], f"/curve.{format}")
    else:
        path, query = f"/v1/compare.{format}", {**query, "job": jobs}
    return remote.answer(Call("GET", path, as_bytes, query=query, media_type=picture_type(format)))


def transcript(remote: Remote, /, job_id: str) -> Steps[str]:
    """The training line by line, as the article prints it."""
    return remote.answer(Call("GET", job_path(job_id, "/transcript"), as_text, media_type=TEXT))
