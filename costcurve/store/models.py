"""The store as far as it keeps trained networks: each of them belongs to one job, and goes with it."""

from typing import Any

from sqlalchemy import Column, Row, select

from costcurve.core.errors import JobNotFound, ModelNotFound, NoTestImages
from costcurve.core.model_file import Confusion, Mistake, ensure_succeeded
from costcurve.core.status import JobStatus
from costcurve.store.base import OnDatabase, sought
from costcurve.store.model_rows import confusion_of, mistakes_of
from costcurve.store.schema import jobs, models


class ForModels(OnDatabase):
    """What may be asked about a network whose training has ended.

    Each method raises JobNotFound; NoTestImages for a neuron; ModelNotReady while the job has not ended; ModelNotFound
    if it failed or was cancelled, or was trained before networks were kept.
    """

    def model(self, job_id: str) -> bytes:
        """The network as a safetensors file."""
        file: bytes = self._kept(job_id, models.c.file).file
        return file

    def confusion(self, job_id: str) -> Confusion:
        """How often each digit of the test images was read as which."""
        return confusion_of(self._kept(job_id, models.c.confusion))

    def mistakes(self, job_id: str) -> tuple[Mistake, ...]:
        """Test images that were read wrongly, the worst first."""
        return mistakes_of(self._kept(job_id, models.c.mistakes, models.c.mistaken_pixels))

    def _kept(self, job_id: str, *columns: Column[Any]) -> Row[Any]:
        """These columns of the job's model."""
        wanted = select(jobs.c.status, jobs.c.experiment, models.c.job_pk, *columns).outerjoin_from(jobs, models)
        with self._database.read() as tx:
            row = tx.execute(wanted.where(jobs.c.id == sought(job_id))).one_or_none()
        if row is None:
            raise JobNotFound(f"there is no job {job_id!a}")
        if row.experiment != "mnist":
            raise NoTestImages(f"{job_id} trains a {row.experiment}, which reads no images")
        ensure_succeeded(job_id, JobStatus(row.status))
        if row.job_pk is None:
            raise ModelNotFound(f"{job_id} was trained by a version of CostCurve that kept no models; clone it")
        return row
