"""How networks were before their first update: the figures that a diagnosis begins with."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from costcurve.core.curve import Curve, decode, encode
from costcurve.store.schema import network_starts

Start = Mapping[str, float]


def start_columns(job_pk: int, start: Start) -> dict[str, Any]:
    """The columns of a start."""
    curve = Curve()
    curve.append(start)
    return {"job_pk": job_pk, "metrics": ",".join(start), "data": encode(curve)}


def write_starts(tx: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep some jobs' starts; a job that begins anew starts as it did before."""
    if rows:
        tx.execute(delete(network_starts).where(network_starts.c.job_pk.in_([row["job_pk"] for row in rows])))
        tx.execute(insert(network_starts), rows)


def read_start(tx: Connection, job_pk: int) -> Start | None:
    """A job's start; None if it is not recorded."""
    row = tx.execute(select(network_starts).where(network_starts.c.job_pk == job_pk)).one_or_none()
    if row is None:
        return None
    curve = decode(row.data, start=0, metrics=row.metrics.split(","))
    return {name: values[0] for name, values in curve.series.items()}
