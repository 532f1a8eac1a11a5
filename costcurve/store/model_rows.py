"""Models in the database: a row for each network whose training has ended, apart from its job's."""

import zlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert

from costcurve.core.model_file import Confusion, Mistake, TrainedModel
from costcurve.core.spec import PIXELS
from costcurve.store.schema import models


def row_of(job_pk: int, model: TrainedModel) -> dict[str, Any]:
    """The columns of a model."""
    figures = [
        {"image": each.image, "label": each.label, "prediction": each.prediction, "cost": each.cost}
        | {"outputs": each.outputs}
        for each in model.mistakes
    ]
    pixels = zlib.compress(b"".join(each.pixels for each in model.mistakes), level=1)
    return {
        "job_pk": job_pk,
        "confusion": model.confusion,
        "mistakes": figures,
        "mistaken_pixels": pixels,
        "file": model.file,
    }


def write_models(tx: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Keep the models of some jobs that end in this transaction."""
    if rows:
        tx.execute(insert(models), rows)


def confusion_of(row: Row[Any]) -> Confusion:
    """The confusion matrix of a row."""
    return tuple(tuple(counts) for counts in row.confusion)


def mistakes_of(row: Row[Any]) -> tuple[Mistake, ...]:
    """The mistakes of a row, the worst first."""
    pixels = zlib.decompress(row.mistaken_pixels)
    return tuple(
        Mistake(
            image=figures["image"],
            label=figures["label"],
            prediction=figures["prediction"],
            cost=figures["cost"],
            outputs=tuple(figures["outputs"]),
            pixels=pixels[place * PIXELS : (place + 1) * PIXELS],
        )
        for place, figures in enumerate(row.mistakes)
    )
