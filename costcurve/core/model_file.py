"""Model files of trained networks, and predictions on the test images."""

import json
from dataclasses import dataclass
from typing import TypeAlias

from costcurve.core.errors import ModelNotFound, ModelNotReady
from costcurve.core.job import ExecProfile, MnistResult, NeuronResult
from costcurve.core.spec import AnySpec, canonical_json
from costcurve.core.status import JobStatus

FORMAT = "costcurve-model/1"

# counts[true digit][predicted digit]
Confusion: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """Test image that the network classifies wrongly.

    `image` is its number among the test images, from 0. `cost` is by the job's loss, summed over the ten `outputs`.
    `pixels` are 28 · 28 bytes, row by row, 0 (paper) to 255 (ink).
    """

    image: int
    label: int
    prediction: int
    cost: float
    outputs: tuple[float, ...]
    pixels: bytes


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """Trained network as a safetensors file, with predictions on the test images.

    The file has W (n_in, n_out) and b (n_out,) of each layer as `weights.1`, `biases.1`, `weights.2` and so on.
    It also has the `metadata` of its job. `mistakes` are those with the highest cost, the highest first.
    """

    file: bytes
    confusion: Confusion
    mistakes: tuple[Mistake, ...]


def ensure_succeeded(job_id: str, status: JobStatus) -> None:
    """Raise ModelNotReady or ModelNotFound unless the job can have a model."""
    if not status.is_terminal:
        raise ModelNotReady(f"{job_id} is {status}; it has a model once it has succeeded")
    if status is not JobStatus.SUCCEEDED:
        raise ModelNotFound(f"{job_id} is {status}; only a job that has succeeded has a model")


def metadata(
    job_id: str, spec: AnySpec, spec_hash: str, profile: ExecProfile | None, result: MnistResult | NeuronResult
) -> dict[str, str]:
    """Return the metadata of a model file: job, spec, profile and result.

    Each figure of the result has a key of its own.
    """
    return {
        "format": FORMAT,
        "job_id": job_id,
        "spec": canonical_json(spec),
        "spec_hash": spec_hash,
        "exec_profile": profile.model_dump_json() if profile is not None else "unknown",
        **{name: str(value) for name, value in result.model_dump().items()},
    }


def metadata_of(file: bytes) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file."""
    said: dict[str, str] = json.loads(file[8 : _tensors_at(file)])["__metadata__"]
    return said


def in_order(file: bytes) -> bytes:
    """Sort a safetensors header alphabetically, so that equal models have equal bytes.

    The library writes the metadata in an order that changes from call to call.
    """
    start = _tensors_at(file)
    header = json.dumps(json.loads(file[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors are aligned
    return len(header).to_bytes(8, "little") + header + file[start:]


def _tensors_at(file: bytes) -> int:
    # Source: https://github.com/huggingface/safetensors#format
    return 8 + int.from_bytes(file[:8], "little")
