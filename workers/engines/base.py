"""Reports that engines yield, and snapshots that they resume from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from costcurve.core.curve import Curve, is_sound
from costcurve.core.errors import Diverged, StartNotFinite
from costcurve.core.job import MnistResult, NeuronResult
from costcurve.core.spec import AnySpec
from workers.training.evaluation import FinalNetwork
from workers.training.network import ImageSets

# Default time between two reports of a training, in seconds.
REPORT_INTERVAL = 0.15


class UnusableSnapshot(Exception):
    """A snapshot whose tensors do not fit the training that resumes from it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole state of a training between two steps.

    An engine that resumes from it continues as if it had never stopped. `epoch` is the number of curve points so far,
    `seconds` is the training time so far, in seconds. `tensors` are on the CPU.
    """

    step: int
    epoch: int
    seconds: float
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Report:
    """Progress of a training, with the points since the last report.

    `step` and `epoch` count the steps and epochs done so far. `curve` and `steps` have the points since the last
    report. Point k of `steps` has the STEP_METRICS of MNIST for the steps from k · STEPS_A_POINT on. A training's last
    point may cover fewer steps. `start`, in the first report, has the `diagnosis_metrics` of MNIST before any update.
    The last report has the `result`, and for MNIST the `final` network. `snapshot` returns the state at this report;
    call it before you request the next one.
    """

    step: int
    epoch: int
    curve: Curve
    result: NeuronResult | MnistResult | None = None
    snapshot: Callable[[], Snapshot] | None = None
    steps: Curve = field(default_factory=Curve)
    start: Mapping[str, float] | None = None
    final: FinalNetwork | None = None


class Engine(Protocol):
    """Attributes of a module that is an engine."""

    __file__: str
    NAME: str
    # Most jobs that a worker claims at once for an engine that trains them together; None if it trains them in turns.
    BATCH_LIMIT: int | None

    def why_missing(self, device: torch.device) -> str | None:
        """Return why this engine is not available on this device, or None if it is."""

    def suits(self, spec: AnySpec, device: torch.device) -> bool:
        """Return True if `auto` may take this engine for this spec."""

    def profile(self, device: torch.device) -> tuple[str, Mapping[str, str]]:
        """Return the instruction set and the versions that decide the last bits, except those of torch and NumPy."""

    def train(
        self,
        specs: Sequence[AnySpec],
        resumes: Sequence[Snapshot | None],
        *,
        device: torch.device,
        images: ImageSets | None,
        report_interval: float,
    ) -> Sequence[Iterator[Report]]:
        """Return one iterator of reports for each spec. For the arguments see `registry.start`."""


def torch_instruction_set(device: torch.device) -> str:
    """Return the instruction set that torch computes with on this device, such as "avx2" or "sm_90"."""
    if device.type != "cuda":
        return torch.backends.cpu.get_cpu_capability().lower()
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def ensure_images(images: ImageSets | None) -> ImageSets:
    """Return the images. Raise ValueError if there are none."""
    if images is None:
        raise ValueError("MNIST cannot be trained without images")
    return images


def ensure_finite(figures: Mapping[str, float], *, where: str, updates: int) -> None:
    """Raise Diverged, naming metric and place, if a value is not finite.

    Infinity is accepted where it is an ordinary value of the metric. If `updates` is 0, raise StartNotFinite instead.
    """
    for name, value in figures.items():
        if not is_sound(name, value):
            if not updates:
                raise StartNotFinite(f"the start is not finite: {name} is {value} before the first update")
            raise Diverged(f"{name} was no longer finite ({value}) {where}")


def copied(step: int, epoch: int, seconds: float, tensors: Mapping[str, Tensor]) -> Snapshot:
    """Return a snapshot with copies of these tensors, which later steps do not change."""
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return Snapshot(step, epoch, seconds, copies)


@torch.no_grad()
def restore(tensors: Mapping[str, Tensor], snapshot: Snapshot) -> None:
    """Copy the snapshot's values into these tensors, in place.

    Raise UnusableSnapshot if the snapshot lacks one of them or has it in another shape.
    """
    for name, tensor in tensors.items():
        tensor.copy_(kept_tensor(snapshot, name, tuple(tensor.shape)))


def kept_tensor(snapshot: Snapshot, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return the snapshot's tensor of this name.

    Raise UnusableSnapshot if there is none, or none of this shape.
    """
    found = snapshot.tensors.get(name)
    if found is None:
        raise UnusableSnapshot(f"it has no tensor {name}")
    if shape is not None and tuple(found.shape) != shape:
        raise UnusableSnapshot(f"its tensor {name} has the shape {tuple(found.shape)}, not {shape}")
    return found
