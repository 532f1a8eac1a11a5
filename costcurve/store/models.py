"""Trained networks: each belongs to one job and is deleted with it."""

import zlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Connection, Row, insert, select

from costcurve.core.errors import JobNotFound, ModelNotFound, NoTestImages
from costcurve.core.model_file import Confusion, Mistake, TrainedModel, ensure_succeeded
from costcurve.core.spec import PIXELS
from costcurve.core.status import JobStatus
from costcurve.store.base import OnDatabase, strip_nul
from costcurve.store.schema import jobs, models


class ForModels(OnDatabase):
    """Store methods for networks whose training has ended.

    Each method raises JobNotFound. It raises NoTestImages for a neuron, and ModelNotReady while the job has not ended.
    It raises ModelNotFound if the job failed, was cancelled, or was trained by a version that stored no networks.
    """

    def model(self, job_id: str) -> bytes:
        """Return the network as the bytes of a safetensors file."""
        file: bytes = self._kept(job_id, models.c.file).file
        return file

    def ensure_kept(self, job_id: str) -> None:
        """Raise an error, as the other methods do, unless the job has a network."""
        self._kept(job_id)

    def confusion(self, job_id: str) -> Confusion:
        """Return the confusion matrix of the network on the test images."""
        return confusion_of(self._kept(job_id, models.c.confusion))

    def mistakes(self, job_id: str) -> tuple[Mistake, ...]:
        """Return the misclassified test images with the highest costs, worst first."""
        return mistakes_of(self._kept(job_id, models.c.mistakes, models.c.mistaken_pixels))

    def _kept(self, job_id: str, *columns: Column[Any]) -> Row[Any]:
        """Return the given columns of the job's model."""
        wanted = select(jobs.c.status, jobs.c.experiment, models.c.job_pk, *columns).outerjoin_from(jobs, models)
        with self._read() as tx:
            row = tx.execute(wanted.where(self._is_own(jobs), jobs.c.id == strip_nul(job_id))).one_or_none()
        if row is None:
            raise JobNotFound(f"there is no job {job_id!a}")
        if row.experiment != "mnist":
            raise NoTestImages(f"{job_id} trains a {row.experiment}, which does not classify images")
        ensure_succeeded(job_id, JobStatus(row.status))
        if row.job_pk is None:
            raise ModelNotFound(f"{job_id} was trained by a version of CostCurve that stored no models; clone it")
        return row


def row_of(job_pk: int, model: TrainedModel) -> dict[str, Any]:
    """Return the columns of a model's row."""
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
    """Insert the models of jobs that end in this transaction."""
    if rows:
        tx.execute(insert(models), rows)


def confusion_of(row: Row[Any]) -> Confusion:
    """Return the confusion matrix of a model's row."""
    return tuple(tuple(counts) for counts in row.confusion)


def mistakes_of(row: Row[Any]) -> tuple[Mistake, ...]:
    """Return the misclassified images of a model's row, worst first."""
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
