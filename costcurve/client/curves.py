# ruff: noqa: D417 - the client shows these docstrings, and its callers do not pass `remote`
"""Operations of the client on curves and comparisons, as steps (transport.py)."""

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
    """Return the curve of the job, as far as it is trained.

    To read only new points later, pass the `next_from` of the curve as `first`.

    Args:
        job_id: id of the job.
        metrics: names of metrics, or one text with commas between them; all metrics if None.
        granularity: `epoch`, or `step` for the mean, lowest and highest cost of each 100 steps. A neuron has one point
            for each step in both cases.
        first: first x; the beginning if None.
        last: last x, inclusive; the newest point if None.
        max_points: most points to return, up to 100,000; every point if None. If points are left out, `sampled`
            is True. The sample consists of recorded points. It keeps the first and the last point, and the lowest and
            highest value of each metric in each interval.

    Raises:
        ApiError: status 422 if there is no such metric, or if max_points is too small for the number of metrics.
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
            break  # the job was requeued, and its curve starts again
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
    """Return the curve of the job as CSV, with a header line.

    Infinite values are written as `inf`. Arguments as for `curve`.
    """
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
    """Compare 2 to 16 jobs: their specs, results and curves.

    The curves share one x axis.

    Args:
        job_ids: ids of the jobs.
        metrics: as for `curve`; the metrics that all of the jobs record if None.
        granularity: as for `curve`.
        first: first x; the beginning if None.
        last: last x, inclusive; the newest point if None.
        max_points: as for `curve`, at most 10,000. If None, 1,000, or more if the metrics and jobs need more.

    Raises:
        ApiError: status 404 if there is no such job; status 422 as for `curve`.
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
    """Return the curves of 2 to 16 jobs as CSV.

    The columns are x, and `{job_id}.{metric}` for each job and metric. All points are included unless max_points is
    given. Arguments as for `compare`.
    """
    names = metric_names(metrics)
    query: Query = {"job": checked_ids(job_ids), "metrics": names, "granularity": granularity, "max_points": max_points}
    return remote.answer(Call("GET", "/v1/compare.csv", as_text, query=query, media_type=CSV))


def plot(
    remote: Remote,
    /,
    job_ids: str | Sequence[str],
    *,
    format: Literal["svg", "png"] = "svg",  # noqa: A002 - the usual name for it
    metrics: Metrics | None = None,
    granularity: Granularity = "epoch",
    log: bool = False,
    title: str | None = None,
) -> Steps[bytes]:
    """Return a plot of the curves of one or several jobs.

    Several jobs (2 to 16, all of one experiment) are drawn on the same axes.

    Args:
        job_ids: id of the job, or ids of the jobs.
        format: `svg` or `png`.
        metrics: metrics to plot, with one diagram each; the cost if None.
        granularity: `epoch`, or `step` for the mean cost of each 100 steps, in a band from the lowest to the highest.
        log: True for a logarithmic value axis.
        title: title of the plot; made from the specs if None.
    """
    jobs = checked_ids([job_ids] if isinstance(job_ids, str) else job_ids)
    query: Query = {"metrics": metric_names(metrics), "granularity": granularity, "log": log, "title": title}
    if len(jobs) == 1:
        path = job_path(jobs[0], f"/curve.{format}")
    else:
        path, query = f"/v1/compare.{format}", {**query, "job": jobs}
    return remote.answer(Call("GET", path, as_bytes, query=query, media_type=picture_type(format)))


def flow_plot(
    remote: Remote,
    /,
    job_id: str,
    *,
    format: Literal["svg", "png"] = "svg",  # noqa: A002 - the usual name for it
) -> Steps[bytes]:
    """Return heat maps of what each layer passes on, its gradients and its updates, epoch by epoch.

    Args:
        job_id: id of the job.
        format: `svg` or `png`.
    """
    return remote.answer(Call("GET", job_path(job_id, f"/flow.{format}"), as_bytes, media_type=picture_type(format)))


def transcript(remote: Remote, /, job_id: str) -> Steps[str]:
    """Return the training line by line, in the article's format."""
    return remote.answer(Call("GET", job_path(job_id, "/transcript"), as_text, media_type=TEXT))
