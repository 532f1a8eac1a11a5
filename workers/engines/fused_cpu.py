"""Fast CPU engine: many SGD steps in one call of compiled code, in float32.

The compiled code is in workers/engines/native/. The first layer reads and updates only the weight rows of an image's
non-zero pixels; all other layers are dense. The start and the batches are those of the reference engine. The results
differ from it in rounding only (tests/engines/test_agreement.py).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from costcurve.analysis.initializers import initial_layers
from costcurve.core.spec import PIXELS, AnySpec, MnistSpec
from workers.engines.base import REPORT_INTERVAL, Report, Snapshot, ensure_images
from workers.engines.epoch_loop import learning_rate, train_epochs
from workers.training.diagnostics import diagnosis
from workers.training.network import Evaluation, Images, ImageSets, Network

try:
    import costcurve_kernel
except ImportError as error:
    _missing: ImportError | None = error
else:
    _missing = None

NAME = "fused_cpu"
BATCH_LIMIT = None

# By instruction set, the most weights behind the first layer with which this engine is faster than the reference engine
# at every batch size (benchmarks/records/shapes.md). With more weights, a library's large matrix products are faster.
_MOST_DENSE_WEIGHTS = {"avx512": 500_000, "avx2": 100_000}
_MOST_DENSE_WEIGHTS_ELSEWHERE = 5_000

# Images evaluated in one call of the compiled code.
_EVALUATED_AT_ONCE = 1000


def why_missing(_device: torch.device | None = None) -> str | None:
    """Return why this engine is not available here, or None if it is."""
    return None if _missing is None else f"its compiled part is missing ({_missing})"


def instruction_sets() -> list[str]:
    """Return the compiled instruction sets that this processor can run, fastest first."""
    names: list[str] = costcurve_kernel.instruction_sets()
    return names


def source() -> str:
    """Return the digest of the compiled part's source.

    Another source may change the last bits of a result.
    """
    found: str = costcurve_kernel.SOURCE
    return found


def suits(spec: AnySpec, device: torch.device) -> bool:
    """Return True if this engine is the fastest for a network of this shape; if it is missing, it might be."""
    if device.type != "cpu" or not isinstance(spec, MnistSpec):
        return False
    dense = sum(n_in * n_out for n_in, n_out in pairwise(spec.layers[1:]))
    if why_missing() is not None:
        return True
    return dense <= _MOST_DENSE_WEIGHTS.get(instruction_sets()[0], _MOST_DENSE_WEIGHTS_ELSEWHERE)


def profile(_device: torch.device) -> tuple[str, Mapping[str, str]]:
    """Return the instruction set of the compiled code, and the digest of its source."""
    return instruction_sets()[0], {"kernel": source()}


def train(
    specs: Sequence[AnySpec],
    resumes: Sequence[Snapshot | None],
    *,
    device: torch.device,  # noqa: ARG001 - it is the CPU
    images: ImageSets | None,
    report_interval: float,
) -> Sequence[Iterator[Report]]:
    """Return one iterator of reports for each spec; each trains by itself, whenever it is asked for a report."""

    def alone(spec: AnySpec, resume: Snapshot | None) -> Iterator[Report]:
        if not isinstance(spec, MnistSpec):
            raise TypeError(f"{NAME} trains networks, and no {spec.experiment}")
        interval = report_interval / len(specs)
        yield from train_mnist(spec, ensure_images(images), resume=resume, report_interval=interval)

    return [alone(spec, resume) for spec, resume in zip(specs, resumes, strict=True)]


def train_mnist(
    spec: MnistSpec,
    images: ImageSets,
    *,
    resume: Snapshot | None = None,
    report_interval: float = REPORT_INTERVAL,
    instruction_set: str | None = None,
) -> Iterator[Report]:
    """Train a network on the CPU, like the reference engine's `train_mnist`.

    Args:
        spec: what to train.
        images: MNIST on the CPU.
        resume: snapshot to resume from, also in the middle of an epoch; None starts at step 0.
        report_interval: seconds between two reports.
        instruction_set: one of `instruction_sets()`; the fastest if None. It may change the last bits.
    """
    steps = _Steps(spec, images.train, instruction_set or instruction_sets()[0])
    return train_epochs(spec, images, steps, resume=resume, report_interval=report_interval)


class _Steps:
    def __init__(self, spec: MnistSpec, images: Images, instruction_set: str) -> None:
        self._images = _sparse(images)
        self._instruction_set = instruction_set
        # The current parameters are in the tensors, in the compiled code (in another layout), or in both.
        self._tensors: Network = [
            (torch.from_numpy(layer.weights), torch.from_numpy(layer.biases))
            for layer in initial_layers(spec.init, spec.layers, seed=spec.seed, dtype=np.float32)
        ]
        self._are_tensors_current = True
        self.enter(spec)

    def enter(self, phase: MnistSpec) -> None:
        self._save()
        self._spec = phase
        self._rate = learning_rate(phase)
        self._native = costcurve_kernel.TrainedNetwork(
            phase.layers, phase.loss, phase.reduction == "mean_outputs", self._instruction_set
        )
        self._is_native_current = False

    @property
    def network(self) -> Network:
        self._save()
        self._is_native_current = False  # the caller may change them
        return self._tensors

    def train(self, batches: Tensor) -> Tensor:
        self._load()
        self._are_tensors_current = False
        taken = torch.empty(len(batches), dtype=torch.float64)
        self._native.train(self._images, batches, self._rate, taken)
        return taken

    def evaluate(self, images: Images) -> Iterator[Evaluation]:
        if not self._first_weights_are_finite():
            # The reference gets NaN from an infinite weight times a zero pixel; zero pixels are left out here.
            yield Evaluation(0, math.nan, torch.full_like(images.targets, math.nan))
            return
        sparse, correct, cost, logits = _sparse(images), 0, 0.0, torch.empty_like(images.targets)
        for start in range(0, len(images), _EVALUATED_AT_ONCE):
            end = min(start + _EVALUATED_AT_ONCE, len(images))
            self._load()
            part_correct, part_cost = self._native.evaluate(sparse, start, end, logits[start:end])
            correct, cost = correct + part_correct, cost + part_cost
            yield Evaluation(correct, cost / end, logits[:end])

    def diagnose(self, images: Images) -> Mapping[str, float]:
        network = self.network
        self._load()
        first_layer = _InkAlone(self._native, self._images)
        return diagnosis(network, images, self._spec, first_layer=first_layer)

    def _first_weights_are_finite(self) -> bool:
        return bool(self.network[0][0].isfinite().all())

    def _save(self) -> None:
        if not self._are_tensors_current:
            self._native.save(self._tensors)
            self._are_tensors_current = True

    def _load(self) -> None:
        if not self._is_native_current:
            self._native.load(self._tensors)
            self._is_native_current = True


@dataclass(frozen=True, slots=True)
class _InkAlone:
    """The first layer in a diagnosis of the first training images.

    It reads non-zero pixels only.
    """

    native: "costcurve_kernel.TrainedNetwork"
    images: "costcurve_kernel.SparseImages"

    def logits(self, weights: Tensor, biases: Tensor, part: slice) -> Tensor:  # noqa: ARG002 - it has them already
        z = torch.empty(part.stop - part.start, weights.shape[2])
        self.native.first_layer(self.images, part.start, part.stop, z)
        return z.mT.unsqueeze(0)

    def gradient(self, delta: Tensor, part: slice) -> Tensor:
        gradient = torch.empty(PIXELS, delta.shape[1])
        self.native.first_gradient(self.images, part.start, part.stop, delta[0].mT.contiguous(), gradient)
        return gradient.mT.unsqueeze(0)


def prepare(sets: ImageSets) -> None:
    """Prepare the sparse images that the first training would otherwise wait for."""
    for images in (sets.train, sets.validation, sets.test):
        _sparse(images)


_known = WeakTensorKeyDictionary()


def _sparse(images: Images) -> "costcurve_kernel.SparseImages":
    """Return the images without zero pixels, computed once for each set of images."""
    found: costcurve_kernel.SparseImages | None = _known.get(images.pixels)  # type: ignore[no-untyped-call]
    if found is None:
        found = _known[images.pixels] = costcurve_kernel.SparseImages(images.pixels, images.labels)
    return found
