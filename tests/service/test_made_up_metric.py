"""A metric is one entry of the table; the names of columns, plots, the command line and the documents ask it."""

import runpy

import pytest
from matplotlib.figure import Figure

from costcurve.cli.formatting import figure
from costcurve.core.curve import diagnosis_metrics, is_sound, metrics_of
from costcurve.core.metrics import METRICS, PERCENT, Metric
from costcurve.core.presets import PRESETS
from service.plotting.axes import fit_axis
from service.plotting.labels import label_of
from tests.conftest import ROOT

NETWORK = PRESETS["mnist-quadratic"].spec


@pytest.fixture
def dead_fraction(monkeypatch) -> str:
    metric = Metric("units without a gradient", PERCENT, low=0.0, high=1.0, better="lower", owners=("layer", "network"))
    monkeypatch.setitem(METRICS, "dead_fraction", metric)
    return "dead_fraction"


def test_a_curve_has_the_columns_of_the_metric(dead_fraction):
    assert {f"{dead_fraction}.1", f"{dead_fraction}.2"} < {*diagnosis_metrics(NETWORK)}
    assert dead_fraction in metrics_of(NETWORK)
    assert dead_fraction not in metrics_of(PRESETS["neuron-good-start"].spec)
    assert not is_sound(f"{dead_fraction}.1", float("inf"))
    assert is_sound("update_ratio.1", float("inf"))


def test_plots_and_the_command_line_show_it_in_its_unit_and_range(dead_fraction):
    label = label_of(f"{dead_fraction}.2", ["quadratic"])
    axes = Figure().subplots()
    fit_axis(axes, f"{dead_fraction}.2", scale=label.scale, log=False)
    low, high = axes.get_ylim()

    assert label.text == "layer 2: units without a gradient (%)"
    assert low < 0 < 100 < high < 110
    assert figure(f"{dead_fraction}.2", 0.125) == "12.50 %"
    assert figure("final_" + dead_fraction, 0.125) == "12.50 %"


def test_the_documents_table_has_it(dead_fraction):
    table = runpy.run_path(str(ROOT / "docs" / "generate.py"))["metric_table"]()
    owners = "each layer l, as `dead_fraction.l`, a network"

    assert f"| `{dead_fraction}` | units without a gradient | % | 0 … 100 | lower | {owners} |" in table
