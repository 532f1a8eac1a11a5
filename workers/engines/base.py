"""What an engine yields while it trains, and the state from which it can go on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from costcurve.core.curve import Curve, is_sound
from costcurve.core.errors import Diverged, StartNotFinite
from costcurve.core.job import MnistResult, NeuronResult
from workers.training.evaluation import FinalNetwork

# Seconds of training between two reports.
REPORT_INTERVAL = 0.15


class UnusableSnapshot(Exception):
    """The snapshot's tensors are not those of the training that is to go on from it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A training's whole state between two steps; an engine that is given it goes on as if it had never stopped.

    `epoch` is the number of points that the curve has so far, `seconds` how long was trained, `tensors` are on the CPU.
    """

    step: int
    epoch: int
    seconds: float
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Report:
    """Steps and epochs done so far, the curve's points since the last report, and in the last report the result.

    Of MNIST it has the final network, too.

    `steps` has STEP_METRICS of MNIST, x = k for the steps from k · STEPS_A_POINT on; the last point of a training may
    stand for fewer. `start`, in the first report, has the `diagnosis_metrics` of MNIST before any update. `snapshot`
    gives the state at this moment; only until the engine is asked for its next report.
    """

    step: int
    epoch: int
    curve: Curve
    result: NeuronResult | MnistResult | None = None
    snapshot: Callable[[], Snapshot] | None = None
    steps: Curve = field(default_factory=Curve)
    start: Mapping[str, float] | None = None
    final: FinalNetwork | None = None


def ensure_finite(figures: Mapping[str, float], *, where: str, updates: int) -> None:
    """Raise Diverged, naming figure and place, unless all are finite, or infinite where that is an ordinary value.

    Before the first update it is StartNotFinite.
    """
    for name, value in figures.items():
        if not is_sound(name, value):
            if not updates:
                raise StartNotFinite(f"the start is not finite: {name} is {value} before the first update")
            raise Diverged(f"{name} was no longer finite ({value}) {where}")


def copied(step: int, epoch: int, seconds: float, tensors: Mapping[str, Tensor]) -> Snapshot:
    """A snapshot that later steps do not change."""
    copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return Snapshot(step, epoch, seconds, copies)


@torch.no_grad()
def restore(tensors: Mapping[str, Tensor], snapshot: Snapshot) -> None:
    """Bring the tensors into the snapshot's state. Raises UnusableSnapshot."""
    for name, tensor in tensors.items():
        tensor.copy_(kept_tensor(snapshot, name, tuple(tensor.shape)))


def kept_tensor(snapshot: Snapshot, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return a tensor of the snapshot. Raises UnusableSnapshot if there is none of this name and shape."""
    found = snapshot.tensors.get(name)
    if found is None:
        raise UnusableSnapshot(f"it has no tensor {name}")
    if shape is not None and tuple(found.shape) != shape:
        raise UnusableSnapshot(f"its tensor {name} has the shape {tuple(found.shape)}, and not {shape}")
    return found
