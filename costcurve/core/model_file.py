"""What is kept of a network whose training has ended: the model as a file, and how it reads the test images."""

import json
from dataclasses import dataclass
from typing import TypeAlias

from costcurve.core.errors import ModelNotFound, ModelNotReady
from costcurve.core.job import ExecProfile, MnistResult, NeuronResult
from costcurve.core.spec import AnySpec, canonical_json
from costcurve.core.status import JobStatus

FORMAT = "costcurve-model/1"

# counts[true digit][digit that was read]
Confusion: TypeAlias = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test image that is read wrongly.

    `image` is its number among the test images, from 0; `cost` is by the job's loss, summed over the ten `outputs`;
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
    """A network as its training left it: a safetensors file, and how it reads the test images.

    The file has W (n_in, n_out) and b (n_out,) of each layer as `weights.1`, `biases.1`, `weights.2` and so on, and the
    `metadata` of its job. `mistakes` are those that cost most, the worst first.
    """

    file: bytes
    confusion: Confusion
    mistakes: tuple[Mistake, ...]


def ensure_succeeded(job_id: str, status: JobStatus) -> None:
    """Raise ModelNotReady or ModelNotFound unless the job is one that can have a model."""
    if not status.is_terminal:
        raise ModelNotReady(f"{job_id} is {status}; it has a model once it has succeeded")
    if status is not JobStatus.SUCCEEDED:
        raise ModelNotFound(f"{job_id} is {status}; only a job that has succeeded has a model")


def metadata(
    job_id: str, spec: AnySpec, spec_hash: str, profile: ExecProfile | None, result: MnistResult | NeuronResult
) -> dict[str, str]:
    """What a model's file says of where it comes from: its job, how it was trained, and each figure of the result."""
    return {
        "format": FORMAT,
        "job_id": job_id,
        "spec": canonical_json(spec),
        "spec_hash": spec_hash,
        "exec_profile": profile.model_dump_json() if profile is not None else "unknown",
        **{name: str(value) for name, value in result.model_dump().items()},
    }


def metadata_of(file: bytes) -> dict[str, str]:
    """What a safetensors file says of itself."""
    said: dict[str, str] = json.loads(file[8 : _tensors_at(file)])["__metadata__"]
    return said


def in_order(file: bytes) -> bytes:
    """A safetensors file with its header in alphabetical order, so that the same model is the same bytes.

    The library writes the metadata in an order that changes from call to call.
    """
    start = _tensors_at(file)
    header = json.dumps(json.loads(file[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors are aligned
    return len(header).to_bytes(8, "little") + header + file[start:]


def _tensors_at(file: bytes) -> int:
    # Source: https://github.com/huggingface/safetensors#format
    return 8 + int.from_bytes(file[:8], "little")
