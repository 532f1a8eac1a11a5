"""Curves as comma-separated values (RFC 4180), written in pieces."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from math import isnan

from fastapi.responses import PlainTextResponse

from costcurve.analysis.sampling import Sample, bounds_of
from costcurve.core.curve import Curve


class Csv(PlainTextResponse):
    """Response with comma-separated values."""

    media_type = "text/csv"


def csv_of_pieces(
    header: Sequence[str], pieces: Iterable[Sequence[Curve]], metrics: Sequence[str], *, stride: int
) -> Iterator[str]:
    """Yield CSV text with one column for each metric of each curve.

    A cell is empty if the curve has no value there. `header` names the columns.
    """
    yield _line(header)
    for runs in pieces:
        start, end = bounds_of(runs)
        columns = [
            chain(run.series.get(metric, ()), repeat(None, end - start - len(run.series.get(metric, ()))))
            for run in runs
            for metric in metrics
        ]
        yield _rows(range(start * stride, end * stride, stride), columns)


def csv_of_sample(header: Sequence[str], sample: Sample, *, stride: int) -> Iterator[str]:
    """Yield CSV text of a sample, with the columns of `csv_of_pieces`."""
    yield _line(header)
    columns = [values for column in sample.columns for values in column.values()]
    yield _rows([number * stride for number in sample.x], columns)


def _rows(xs: Iterable[int], columns: Sequence[Iterable[float | None]]) -> str:
    return "".join(_line((repr(x), *map(_cell, values))) for x, *values in zip(xs, *columns, strict=True))


def _cell(value: float | None) -> str:
    return "" if value is None or isnan(value) else repr(value)


def _line(cells: Iterable[str]) -> str:
    return ",".join(cells) + "\r\n"
