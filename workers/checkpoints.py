"""Checkpoints and trained networks as files.

A training resumes from a checkpoint bit for bit. A file name ends with the checksum of all its bytes, and the store
keeps the name. So a byte that changes on the disk is detected. Names written by an older version have no checksum;
such a file is trusted if it can be read.
"""

import hashlib
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from costcurve.core.job import Claim, MnistResult
from costcurve.core.model_file import TrainedModel, in_order, metadata
from costcurve.runtime.files import flush_folder
from workers.engines.base import Snapshot
from workers.training.evaluation import FinalNetwork

log = logging.getLogger(__name__)

_FORMAT = "costcurve-checkpoint/2"
# Hexadecimal digits of SHA-256 in a file name. They detect damage, not an attacker.
_CHECKSUM_DIGITS = 16


class UnusableCheckpoint(Exception):
    """A checkpoint from which training cannot resume with the same bits.

    It cannot be read, or training from it would end with other bits.
    """


class Checkpoints:
    """The checkpoints in one folder, with a subfolder per job.

    Each checkpoint is one file and is never overwritten.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, claim: Claim, snapshot: Snapshot) -> str:
        """Write a checkpoint atomically and flush it to the disk.

        It is there as a whole or not at all, and survives a power loss.

        Returns:
            Its name, for `load`. The name holds the claim, the epoch and the step, so no file is ever written twice.

        Raises:
            OSError: it cannot be written; its partial files are removed.
        """
        metadata = {
            "format": _FORMAT,
            "spec_hash": claim.spec_hash,
            "profile": _profile(claim),
            "step": str(snapshot.step),
            "epoch": str(snapshot.epoch),
            "seconds": repr(snapshot.seconds),
        }
        content = save(dict(snapshot.tensors), metadata)
        place = f"{claim.attempt_pk}-{snapshot.epoch}-{snapshot.step}"
        name = f"{claim.job_id}/{place}-{_checksum(hashlib.sha256(content))}.safetensors"
        path = self._folder / name
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            flush_folder(self._folder)
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
            flush_folder(path.parent)
        except OSError:
            # On a full disk, a partial file would take the space of the next checkpoint.
            for left in (part, path):
                with suppress(OSError):
                    left.unlink(missing_ok=True)
            raise
        return name

    def load(self, claim: Claim) -> Snapshot:
        """Return the state from which the claim's job resumes.

        Raises:
            UnusableCheckpoint: the file is missing, damaged, or made by another engine, device or version.
        """
        path = self._folder / (claim.checkpoint or "")
        try:
            _ensure_undamaged(path)
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (OSError, SafetensorError) as error:
            raise UnusableCheckpoint(f"its checkpoint cannot be read on this host ({error})") from error
        for key, expected in (
            ("format", _FORMAT),
            ("spec_hash", claim.spec_hash),
            ("profile", _profile(claim)),
        ):
            if metadata.get(key) != expected:
                raise UnusableCheckpoint(
                    f"its checkpoint has {key} {metadata.get(key)}, but this attempt needs {expected}"
                )
        try:
            step, epoch, seconds = int(metadata["step"]), int(metadata["epoch"]), float(metadata["seconds"])
        except (KeyError, ValueError) as error:
            raise UnusableCheckpoint(f"its checkpoint does not state its step, epoch and seconds ({error})") from error
        return Snapshot(step=step, epoch=epoch, seconds=seconds, tensors=tensors)

    def remove(self, name: str) -> None:
        """Remove a checkpoint that a newer one has replaced."""
        with suppress(OSError):  # a file that stays is removed with the job's folder
            (self._folder / name).unlink(missing_ok=True)

    def remove_all(self, job_id: str) -> None:
        """Remove all checkpoints of a job that has ended."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)  # checkpoint_sweep.py removes the rest later


def _checksum(digest: "hashlib._Hash") -> str:
    return digest.hexdigest()[:_CHECKSUM_DIGITS]


def _ensure_undamaged(path: Path) -> None:
    """Raise UnusableCheckpoint if the file's bytes are not those that were written."""
    _claim, _epoch, _step, *checksum = path.stem.split("-")
    if not checksum:  # written by an older version
        return
    with path.open("rb") as file:
        found = _checksum(hashlib.file_digest(file, "sha256"))
    if [found] != checksum:
        raise UnusableCheckpoint(f"its checkpoint is damaged (checksum {found}, expected {checksum[0]})")


def _profile(claim: Claim) -> str:
    return claim.profile.model_dump_json() if claim.profile is not None else "unknown"


def model_of(claim: Claim, result: MnistResult, final: FinalNetwork) -> TrainedModel:
    """Return the model to store for a claim's trained network."""
    tensors: dict[str, Tensor] = {}
    for number, (weights, biases) in enumerate(final.network, start=1):
        tensors |= {f"weights.{number}": weights, f"biases.{number}": biases}
    header = metadata(claim.job_id, claim.spec, claim.spec_hash, claim.profile, result)
    return TrainedModel(in_order(save(tensors, header)), final.confusion, final.mistakes)
