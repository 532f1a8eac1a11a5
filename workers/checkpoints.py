"""Checkpoints: a training's whole state in a file, from which it goes on bit for bit as if it had never stopped."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from jobs.job import Claim
from workers.engines.report import Snapshot

log = logging.getLogger(__name__)

_FORMAT = "costcurve-checkpoint/2"


class UnusableCheckpoint(Exception):
    """The checkpoint cannot be read, or training that went on from it would end with other bits."""


class Checkpoints:
    """The checkpoints in one folder: a folder for each job, a file for each checkpoint, never written twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, claim: Claim, snapshot: Snapshot) -> str:
        """Write a checkpoint, so that it is there as a whole or not at all, and survives a loss of power.

        Returns:
            Its name, for `load`. It holds the claim, the epoch and the step, so that no file is ever written twice.

        Raises:
            OSError: it cannot be written.
        """
        name = f"{claim.job_id}/{claim.attempt_pk}-{snapshot.epoch}-{snapshot.step}.safetensors"
        path = self._folder / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _fsync_folder(self._folder)
        metadata = {
            "format": _FORMAT,
            "spec_hash": claim.spec_hash,
            "profile": _profile(claim),
            "step": str(snapshot.step),
            "epoch": str(snapshot.epoch),
            "seconds": repr(snapshot.seconds),
        }
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(save(dict(snapshot.tensors), metadata))
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _fsync_folder(path.parent)
        return name

    def load(self, claim: Claim) -> Snapshot:
        """The state from which the claim's job goes on.

        Raises:
            UnusableCheckpoint: it is not here, is damaged, or was made by another engine, device or version.
        """
        path = self._folder / (claim.checkpoint or "")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (OSError, SafetensorError) as error:
            raise UnusableCheckpoint(f"its checkpoint cannot be read here ({error})") from error
        for key, expected in (
            ("format", _FORMAT),
            ("spec_hash", claim.spec_hash),
            ("profile", _profile(claim)),
        ):
            if metadata.get(key) != expected:
                raise UnusableCheckpoint(f"the {key} of its checkpoint is {metadata.get(key)}, and here {expected}")
        step, epoch, seconds = (metadata[key] for key in ("step", "epoch", "seconds"))
        return Snapshot(step=int(step), epoch=int(epoch), seconds=float(seconds), tensors=tensors)

    def remove(self, name: str) -> None:
        """Remove a checkpoint that another has replaced."""
        (self._folder / name).unlink(missing_ok=True)

    def remove_all(self, job_id: str) -> None:
        """Remove what is left of a job that has ended."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)  # what stays is swept up later

    def sweep(self, ended: Callable[[Sequence[str]], Sequence[str]]) -> None:
        """Remove what workers that died have left of jobs that have `ended` since."""
        if not self._folder.is_dir():
            return
        job_ids = [path.name for path in self._folder.iterdir()]
        for start in range(0, len(job_ids), 500):
            for job_id in ended(job_ids[start : start + 500]):
                self.remove_all(job_id)


def _profile(claim: Claim) -> str:
    return claim.profile.model_dump_json() if claim.profile is not None else "unknown"


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
