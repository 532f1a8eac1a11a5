"""Schedules on every engine: up to a change a training has the bits of the one without it, then the new terms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import pytest
import torch

from costcurve.core.curve import Curve
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec, phase_at
from workers.engines import fused_cpu
from workers.engines.base import Report, Snapshot
from workers.engines.registry import engine_named
from workers.training.network import ImageSets

EPOCHS = 10
NEURON = NeuronSpec.model_validate(
    {
        "experiment": "neuron",
        "loss": "quadratic",
        "epochs": EPOCHS,
        "init": {"scheme": "constant", "weight": 2, "bias": 2},
    }
)


def network(**fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", "loss": "quadratic", "epochs": EPOCHS, **fields})


@dataclass(frozen=True)
class Trained:
    """Curve and result of a whole training."""

    curve: Curve
    result: dict

    @classmethod
    def of(cls, reports: Sequence[Report]) -> "Trained":
        result = reports[-1].result.model_dump(exclude={"train_seconds"})
        return cls(Curve.joined(report.curve for report in reports), result)


@dataclass(frozen=True)
class OnEngine:
    """An engine with a job that it can train."""

    name: str
    parent: AnySpec
    device: torch.device
    images: ImageSets

    def lanes(self, specs: Sequence[AnySpec], resumes: Sequence[Snapshot | None]) -> Sequence[Iterator[Report]]:
        engine = engine_named(self.name)
        return engine.train(specs, resumes, device=self.device, images=self.images, report_interval=0.0)

    def trained(self, *specs: AnySpec) -> list[Trained]:
        """Together, where the engine does so; otherwise one after the other."""
        return [Trained.of(list(lane)) for lane in self.lanes(specs, [None] * len(specs))]

    def snapshot(self, epoch: int) -> Snapshot:
        """The state of the parent after this number of epochs."""
        (lane,) = self.lanes([self.parent], [None])
        return next(report.snapshot() for report in lane if report.epoch == epoch and report.snapshot is not None)

    def forked(self, *changes: dict) -> AnySpec:
        fields = self.parent.model_dump(mode="json") | {"schedule": list(changes)}
        return type(self.parent).model_validate(fields)


SMALL = {"steps_per_epoch": 2, "batch_size": 2}
without_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
without_kernel = pytest.mark.skipif(fused_cpu.why_missing() is not None, reason="the compiled part is missing")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("autograd", NEURON), id="autograd-neuron"),
        pytest.param(("neuron_pack", NEURON), id="neuron_pack"),
        pytest.param(("autograd", network(steps_per_epoch=20)), id="autograd"),
        pytest.param(("fused_cpu", network(steps_per_epoch=20)), id="fused_cpu", marks=without_kernel),
        pytest.param(
            ("packed_gpu", network(layers=[784, 12, 10], **SMALL)),
            id="kernel",
            marks=[without_triton, pytest.mark.slow],
        ),
        pytest.param(("packed_gpu", network(layers=[784, 9, 11, 10], **SMALL)), id="products", marks=without_triton),
    ],
)
def on(request, device, few, images) -> OnEngine:
    name, parent = request.param
    if name == "packed_gpu":
        return OnEngine(name, parent, device, few)
    cpu = torch.device("cpu")
    on_cpu = few if device == cpu else ImageSets(images.train, images.validation.first(100), images.test.first(200))
    return OnEngine(name, parent, cpu, on_cpu)


@pytest.fixture(scope="module")
def short(on) -> OnEngine:
    """The same with fewer epochs."""
    return replace(on, parent=on.parent.model_copy(update={"epochs": 4}))


def test_a_fork_at_any_epoch_has_the_bits_of_its_parent_up_to_there(on):
    epochs = range(1, EPOCHS)
    forks = [on.forked({"from_epoch": epoch, "loss": "cross_entropy"}) for epoch in epochs]
    parent, *found = on.trained(on.parent, *forks)
    (again,) = on.trained(forks[4])

    assert again == found[4]
    for epoch, fork in zip(epochs, found, strict=True):
        assert fork.curve.between(0, epoch - 1) == parent.curve.between(0, epoch - 1)
        assert fork.curve.between(epoch, epoch) != parent.curve.between(epoch, epoch)
        assert len(fork.curve) == len(parent.curve)
    assert len({str(each.result) for each in (parent, *found)}) == EPOCHS


def test_from_the_change_on_it_trains_as_a_job_with_the_new_terms_does_from_there(short):
    changes = [
        {"loss": "cross_entropy"},
        {"loss": "cross_entropy", "reduction": "sum_outputs", "learning_rate": 0.25},
        {"learning_rate": 0.5},
    ]
    forks = [short.forked({"from_epoch": 2, **change}) for change in changes]
    snapshot = short.snapshot(2)
    resumed = short.lanes([phase_at(fork, 2) for fork in forks], [snapshot] * len(forks))

    for found, rest in zip(short.trained(*forks), resumed, strict=True):
        expected = Trained.of(list(rest))
        assert found.curve.between(2, EPOCHS) == expected.curve
        assert found.result == expected.result


def test_a_change_and_a_change_back_are_both_made(short):
    there_and_back = short.forked(
        {"from_epoch": 1, "loss": "cross_entropy", "learning_rate": 0.5},
        {"from_epoch": 3, "loss": "quadratic", "learning_rate": short.parent.learning_rate},
    )
    there = short.forked({"from_epoch": 1, "loss": "cross_entropy", "learning_rate": 0.5})
    found, without_the_second = short.trained(there_and_back, there)

    assert found.curve.between(0, 2) == without_the_second.curve.between(0, 2)
    assert found.result != without_the_second.result


def test_the_recorded_figures_are_those_of_the_loss_and_rate_in_force(short):
    fork = short.forked({"from_epoch": 1, "loss": "cross_entropy"}, {"from_epoch": 3, "learning_rate": 0.5})
    (found,) = short.trained(fork)

    for epoch in range(short.parent.epochs):
        phase = phase_at(fork, epoch)
        figures = {name: values[epoch] for name, values in found.curve.series.items()}
        if isinstance(phase, NeuronSpec):
            slope = figures["sigmoid_prime"] if phase.loss == "quadratic" else 1.0
            assert figures["gradient"] == pytest.approx(figures["output"] * slope)
            continue
        output, scale = len(phase.layers) - 1, phase.effective_learning_rate / phase.learning_rate
        assert figures[f"gradient_norm.{output}"] == pytest.approx(
            scale * figures[f"output_gradient_norm.{phase.loss}"]
        )
        assert figures[f"update_ratio.{output}"] > 0
