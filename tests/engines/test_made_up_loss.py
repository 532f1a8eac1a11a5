"""A loss is two entries: one in the table of names, one in the table of formulas. Everything else asks them."""

import math
from itertools import chain

import pytest
import torch

from costcurve.core import losses as names
from costcurve.core.curve import Curve, metrics_of
from costcurve.core.engines import ENGINES
from costcurve.core.errors import InvalidRequest, invalid_fields
from costcurve.core.losses import LossInfo
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec
from costcurve.core.submission import Submission
from costcurve.core.validation import field_errors
from service.plotting.labels import label_of
from workers.engines import fused_cpu, registry
from workers.engines.packed_gpu.networks import Networks
from workers.training import losses as formulas
from workers.training.losses import NumericLoss, Outputs, costs, costs_of_labels

LOG_COSH = "log_cosh"


def _log_cosh(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return Outputs.of(z, y).error.cosh().log()


@pytest.fixture
def log_cosh(monkeypatch) -> str:
    """The cost ln cosh(a − y), whose δ is tanh(a − y) σ′(z)."""
    monkeypatch.setitem(names.LOSSES, LOG_COSH, LossInfo(LOG_COSH, "log-cosh", "ln cosh of the error"))
    numeric = NumericLoss(_log_cosh, lambda outputs: outputs.error.tanh() * outputs.slope, _log_cosh)
    monkeypatch.setitem(formulas.LOSSES, LOG_COSH, numeric)
    return LOG_COSH


def network(**fields) -> MnistSpec:
    small = {"layers": [784, 12, 10], "epochs": 2, "steps_per_epoch": 300}
    return MnistSpec.model_validate({"experiment": "mnist", **small, **fields})


def neuron(**fields) -> NeuronSpec:
    return NeuronSpec.model_validate({"experiment": "neuron", **fields})


def trained(engine: str, specs: list[AnySpec], images=None) -> list[Curve]:
    given = {"device": torch.device("cpu"), "images": images, "report_interval": 60.0}
    lanes = registry.start(engine, specs, [None] * len(specs), **given)
    return [Curve.joined(report.curve for report in lane) for lane in lanes]


def test_the_tables_of_names_and_of_formulas_have_the_same_losses():
    assert [*names.LOSSES] == [*formulas.LOSSES]


@pytest.mark.parametrize("loss", [*formulas.LOSSES, LOG_COSH])
def test_the_delta_of_a_loss_is_the_derivative_of_its_cost(log_cosh, loss):
    z = torch.linspace(-40, 40, 321, dtype=torch.float64).repeat(3, 1).requires_grad_()
    y = torch.tensor([[0.0], [0.3], [1.0]], dtype=torch.float64).expand_as(z)
    costs(z, y, loss=loss).sum().backward()
    found = formulas.loss_named(loss).delta(Outputs.of(z.detach(), y))

    torch.testing.assert_close(found, z.grad, rtol=1e-12, atol=1e-300)
    each = Outputs.of_labels(z.detach()[::2], y[::2])
    torch.testing.assert_close(formulas.loss_named(loss).delta(each), found[::2], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("engine", ["autograd", "neuron_pack"])
def test_a_neuron_learns_with_a_loss_that_two_entries_add(log_cosh, engine):
    specs = [neuron(loss=log_cosh), neuron(loss="quadratic"), neuron(loss=log_cosh, learning_rate=1.0)]
    curves = trained(engine, specs)

    for curve in curves:
        assert curve.series["cost"][-1] < curve.series["cost"][0] / 5
    assert curves[0].series["cost"][0] == pytest.approx(math.log(math.cosh(curves[0].series["output"][0])), rel=1e-12)
    for one, other in zip(curves, chain(*(trained("autograd", [spec]) for spec in specs)), strict=True):
        assert one.series["weight"] == pytest.approx(other.series["weight"], rel=1e-9)


def test_a_network_learns_with_it_and_its_diagnosis_has_a_figure_of_it(log_cosh, images):
    spec = network(loss=log_cosh)
    [curve] = trained("autograd", [spec], images)

    assert curve.series["cost"][1] < curve.series["cost"][0]
    assert curve.series["correct"][1] > curve.series["correct"][0]
    assert tuple(curve.series) == metrics_of(spec)
    deltas = {loss: curve.series[f"output_delta.{loss}"][-1] for loss in ("quadratic", "cross_entropy", log_cosh)}
    # tanh shrinks an error a little: |tanh(a − y)| σ′(z) < |a − y| σ′(z).
    assert 0.7 * deltas["quadratic"] < deltas[log_cosh] < deltas["quadratic"] < deltas["cross_entropy"]
    # The cost is summed over the outputs, so the figure of its own loss is the trained gradient's.
    own = curve.series[f"output_gradient_norm.{log_cosh}"][-1]
    assert curve.series["gradient_norm.2"][-1] == pytest.approx(own, rel=1e-12)


def test_validation_knows_it_and_its_reductions(log_cosh):
    assert network(loss=log_cosh).reduction == neuron(loss=log_cosh).reduction == "sum_outputs"
    with pytest.raises(ValueError, match="log_cosh is only defined with sum_outputs"):
        network(loss=log_cosh, reduction="mean_outputs")
    assert Submission.model_json_schema()["$defs"]["MnistSpec"]["properties"]["loss"]["enum"][-1] == log_cosh


def test_plots_name_it_and_its_unit(log_cosh):
    assert label_of("cost", [log_cosh]).text == "cost (ln cosh of the error)"
    assert label_of(f"output_delta.{log_cosh}", [log_cosh]).text.endswith("log-cosh")


def test_auto_takes_an_engine_that_knows_it(log_cosh, monkeypatch):
    monkeypatch.setattr(fused_cpu, "why_missing", lambda *_: None)
    monkeypatch.setattr(fused_cpu, "instruction_sets", lambda: ["avx2"])
    monkeypatch.setattr(registry, "exec_profile", lambda *_: None)

    assert registry.select_engine(network(loss="quadratic"), "auto", "cpu").engine == "fused_cpu"
    assert registry.select_engine(network(loss=log_cosh), "auto", "cpu").engine == "autograd"
    assert registry.select_engine(neuron(loss=log_cosh), "auto", "cpu").engine == "neuron_pack"


@pytest.mark.parametrize(("engine", "device"), [("fused_cpu", "cpu"), ("packed_gpu", "cuda")])
def test_a_compiled_engine_refuses_it_and_says_which_losses_it_knows(log_cosh, engine, device):
    why = f"{engine} does not know the loss log_cosh; it knows quadratic, cross_entropy"

    assert ENGINES[engine].why_unsupported(network(loss=log_cosh), device) == why
    with pytest.raises(ValueError, match=why):
        Submission.model_validate({"spec": {"experiment": "mnist", "loss": log_cosh}, "engine": engine})


@pytest.mark.parametrize("experiment", ["neuron", "mnist"])
def test_an_unknown_loss_is_refused_with_its_field_and_the_known_names(experiment):
    with pytest.raises(ValueError, match="loss") as caught:
        Submission.model_validate({"spec": {"experiment": experiment, "loss": LOG_COSH}})
    [error] = field_errors(caught.value.errors())

    assert (error.pointer, error.message) == ("/spec/loss", "Input should be 'quadratic' or 'cross_entropy'")
    assert isinstance(invalid_fields([error]), InvalidRequest)


@pytest.mark.parametrize("engine", registry.available("cpu"))
def test_no_engine_trains_an_unknown_loss_as_another(engine, images):
    made = neuron if engine == "neuron_pack" else network
    spec = made().model_copy(update={"loss": LOG_COSH})
    with pytest.raises(ValueError, match=r"(no|unknown) loss '?log_cosh"):
        trained(engine, [spec], images)
    with pytest.raises(ValueError, match="no loss of packed_gpu 'log_cosh'"):
        Networks.at_their_start([network().model_copy(update={"loss": LOG_COSH})], torch.device("cpu"))
    with pytest.raises(ValueError, match="no loss 'log_cosh'"):
        costs_of_labels(torch.zeros(1, 1), torch.zeros(1, 1), loss=LOG_COSH)
