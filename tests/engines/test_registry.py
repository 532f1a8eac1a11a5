"""Which engine trains what, and how it is written down what decides its last bits."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from costcurve.core.engines import ENGINES, EngineInfo
from costcurve.core.spec import MnistSpec, NeuronSpec
from workers import engines
from workers.engines import fused_cpu, registry
from workers.engines.base import REPORT_INTERVAL
from workers.engines.registry import exec_profile

NEURON = NeuronSpec(experiment="neuron")


def network(*hidden: int, **fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", "layers": [784, *hidden, 10], **fields})


@pytest.mark.parametrize(
    ("spec", "device", "engine"),
    [
        (NEURON, "cpu", "neuron_pack"),
        (NEURON, "cuda:0", "neuron_pack"),
        (network(), "cpu", "fused_cpu"),
        (network(30), "cpu", "fused_cpu"),
        (network(5000), "cpu", "fused_cpu"),
        (network(30, 30), "cpu", "fused_cpu"),
        (network(30, 2000, 2000), "cpu", "autograd"),
    ],
)
def test_auto_takes_the_fastest_engine_for_a_spec_and_a_device(monkeypatch, spec, device, engine):
    monkeypatch.setattr(fused_cpu, "why_missing", lambda *_: None)
    monkeypatch.setattr(fused_cpu, "instruction_sets", lambda: ["avx2"])
    # What a GPU computes with is not asked here, where there may be none.
    monkeypatch.setattr(registry, "exec_profile", lambda *_: None)
    assert registry.select_engine(spec, "auto", device).engine == engine


@pytest.mark.parametrize(
    ("hidden", "suits"),
    [((65, 65), {"baseline", "avx2", "avx512"}), ((300, 300), {"avx2", "avx512"}), ((600, 600), {"avx512"})],
)
def test_wide_networks_suit_the_compiled_engine_by_its_instruction_set(monkeypatch, hidden, suits):
    monkeypatch.setattr(fused_cpu, "why_missing", lambda *_: None)
    monkeypatch.setattr(registry, "exec_profile", lambda *_: None)
    found = set()
    for name in ("baseline", "avx2", "avx512"):
        monkeypatch.setattr(fused_cpu, "instruction_sets", lambda name=name: [name])
        if registry.select_engine(network(*hidden), "auto", "cpu").engine == "fused_cpu":
            found.add(name)
    assert found == suits


def test_without_the_compiled_engine_auto_takes_the_reference_and_says_why(monkeypatch):
    monkeypatch.setattr(fused_cpu, "why_missing", lambda *_: "its compiled part is missing (no such file)")
    found = registry.select_engine(network(30), "auto", "cpu")

    assert found.engine == "autograd"
    assert found.remark == "because fused_cpu is missing here (its compiled part is missing (no such file))"
    assert "fused_cpu" not in registry.available("cpu")


def test_an_engine_that_is_asked_for_is_taken_and_packs_as_it_can():
    assert registry.select_engine(network(30), "autograd", "cpu", pack=3).at_once == 3
    assert registry.select_engine(NEURON, "neuron_pack", "cpu", pack=3).at_once == 1024
    assert registry.select_engine(network(30), "autograd", "cpu").remark is None
    assert "packed_gpu" not in registry.available("cpu")


@pytest.mark.parametrize("engine", registry.available("cpu"))
def test_a_profile_names_engine_device_instruction_set_threads_and_versions(engine):
    found = exec_profile(engine, "cpu")

    assert (found.engine, found.device, found.threads) == (engine, "cpu", torch.get_num_threads())
    assert found.versions["torch"] == torch.__version__
    assert found.versions["numpy"] == np.__version__
    assert len(found.versions["source"]) == 12
    assert ("kernel" in found.versions) == (engine == "fused_cpu")
    if engine == "fused_cpu":
        assert found.instruction_set == fused_cpu.instruction_sets()[0]
    else:
        assert found.instruction_set == torch.backends.cpu.get_cpu_capability().lower()


@pytest.mark.parametrize("engine", registry.available("cpu"))
def test_every_engine_trains_what_it_is_started_with(images, engine):
    if engine == "neuron_pack":
        specs = [NEURON, NeuronSpec(experiment="neuron", loss="quadratic")]
    else:
        specs = [network(12, 8, epochs=1, steps_per_epoch=20, seed=seed) for seed in (0, 1)]
    lanes = registry.start(
        engine,
        specs,
        [None, None],
        device=torch.device("cpu"),
        images=None if engine == "neuron_pack" else images,
        report_interval=REPORT_INTERVAL,
    )
    results = [list(lane)[-1].result for lane in lanes]

    assert results[0].final_cost != results[1].final_cost


def test_a_profile_changes_with_the_code_that_computes_and_not_with_its_words(tmp_path, monkeypatch):
    shutil.copytree(Path(registry.__file__).parent.parent, tmp_path / "workers")
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "workers" / "engines" / "registry.py"))

    def source() -> str:
        registry.source_digest.cache_clear()
        return registry.source_digest("neuron_pack")

    before, losses = source(), tmp_path / "workers" / "training" / "losses.py"
    text = losses.read_text()
    losses.write_text(text.replace('"""Return the cost of a batch', '"""Give the cost of a batch') + "\n# A remark.\n")
    assert source() == before
    losses.write_text(text.replace("0.5 * Outputs.of(z, y).error ** 2", "Outputs.of(z, y).error ** 2 / 2"))
    assert source() != before
    registry.source_digest.cache_clear()


MADE_UP = """
from workers.engines import autograd

NAME, BATCH_LIMIT = "made_up", None
why_missing, profile, train = autograd.why_missing, autograd.profile, autograd.train


def suits(spec, device):
    return spec.experiment == "mnist"
"""


def test_an_engine_is_one_file_and_one_line(tmp_path, monkeypatch, images):
    (tmp_path / "made_up.py").write_text(MADE_UP)
    monkeypatch.setattr(engines, "__path__", [*engines.__path__, str(tmp_path)])
    monkeypatch.setitem(ENGINES, "made_up", EngineInfo("made_up", experiment="mnist"))
    spec = network(12, epochs=1, steps_per_epoch=20)

    def weights(engine: str) -> str:
        given = {"device": torch.device("cpu"), "images": images, "report_interval": REPORT_INTERVAL}
        [reports] = registry.start(engine, [spec], [None], **given)
        return list(reports)[-1].result.weights_sha256

    assert "made_up" in registry.available("cpu")
    found = registry.select_engine(spec, "auto", "cpu")
    assert (found.engine, found.profile.engine) == ("made_up", "made_up")
    assert weights("made_up") == weights("autograd")


def test_an_engine_that_does_not_exist_is_an_error():
    with pytest.raises(ValueError, match=r"there is no engine 'warp'; there are autograd, "):
        registry.start("warp", [NEURON], [None], device=torch.device("cpu"), images=None, report_interval=1.0)


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_of_the_table_has_its_module(name):
    engine = registry.engine_named(name)

    assert name == engine.NAME
    assert {"BATCH_LIMIT", "why_missing", "suits", "profile", "train"} <= set(vars(engine))
