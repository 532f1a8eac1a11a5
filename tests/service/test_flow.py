"""The flow of a training as heat maps, as the service reads and draws it from a store of each kind."""

import io
import math

import numpy as np
import pytest
from matplotlib.image import imread

from costcurve.core.curve import NEURON_METRICS, Curve, metrics_of
from costcurve.core.job import Progress
from costcurve.store.job_update import JobUpdate
from service.flow_reader import MOST_COLUMNS, START, read_flow
from service.plotting import flow
from tests.helpers.pages import texts
from tests.helpers.problems import problem
from tests.helpers.reports import progress

NETWORK = {"experiment": "mnist", "layers": [784, 20, 15, 10]}


@pytest.fixture
def trained(store, submit, claim):
    """Queue a job and record this curve of it: its id."""

    def trained(spec: dict, curve: Curve, start: dict | None = None) -> str:
        job, held = submit(spec), claim()
        done = Progress(epoch=len(curve), epochs=30, step=5000 * len(curve), steps=150_000, eta_seconds=None)
        done = progress(max(len(curve) - 1, 0)) if spec["experiment"] == "neuron" else done
        assert store.write([JobUpdate(held, done, curve, start=start)]) == [None]
        return job.id

    return trained


@pytest.fixture
def network(trained, submit):
    """A network with three epochs and its start; in layer l at epoch x every metric is l + x / 10."""

    def value(name: str, x: int) -> float:
        layer = name.rpartition(".")[2]
        return (float(layer) if layer.isdecimal() else 1.0) + x / 10

    names = metrics_of(submit(NETWORK, name="not trained", priority=0).spec)
    curve = Curve(0, {name: [value(name, x) for x in range(3)] for name in names})
    return trained(NETWORK, curve, {name: value(name, START) for name in names[5:]})


def test_a_row_is_a_layer_and_a_column_an_epoch_after_the_start(store, network):
    _, found = read_flow(store, network)

    assert found.x == [START, 0, 1, 2]
    assert set(found.layers) == {"mean_sigmoid_prime", "gradient_norm", "update_ratio"}
    for rows in found.layers.values():
        assert rows == [[pytest.approx(layer + x / 10) for x in found.x] for layer in (1, 2, 3)]
    assert list(found.losses) == ["quadratic", "cross_entropy"]
    assert found.every == 1


def test_the_plot_names_layers_losses_and_metrics_and_is_drawn_again_only_after_a_change(http, network):
    answer = http.get(f"/v1/jobs/{network}/flow.svg")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert {
        *("layer 1", "layer 2", "layer 3, output", "quadratic", "cross-entropy"),
        *("mean σ′(z)", "update / weight norm ratio", "mean |δ| at the output that each loss passes down"),
        *("start", "0", "1", "2", "finished epochs, counted from 0"),
    } <= set(texts(answer.text))
    assert answer.text.count("<image") >= 4
    assert "grey" not in answer.text
    known = http.get(f"/v1/jobs/{network}/flow.svg", headers={"If-None-Match": answer.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert http.get(f"/v1/jobs/{network}/flow.svg").content == answer.content
    assert http.get(f"/v1/jobs/{network}/flow.png").headers["etag"] != answer.headers["etag"]


def test_a_larger_value_is_lighter_and_the_output_is_above_the_first_layer(http, network):
    height, width, _ = imread(io.BytesIO(http.get(f"/v1/jobs/{network}/flow.png").content)).shape
    picture = imread(io.BytesIO(http.get(f"/v1/jobs/{network}/flow.png").content))[..., :3]
    brightness = picture @ np.array([0.3, 0.6, 0.1])
    # The first heat map: three rows between the title and the second one, each wider than any text.
    column = brightness[: height // 4, width // 2]
    inside = column[column < 0.95]

    assert inside[: len(inside) // 3].mean() > inside[-len(inside) // 3 :].mean()


def test_a_long_training_is_read_at_equal_distances_up_to_its_last_point(store, trained):
    points = 100_001
    series = {name: [1 / (1 + x) for x in range(points)] for name in NEURON_METRICS}
    job, found = read_flow(
        store, trained({"experiment": "neuron", "loss": "quadratic", "epochs": 100_000}, Curve(0, series))
    )

    assert len(found.x) <= MOST_COLUMNS
    assert found.x[-1] == points - 1
    assert set(np.diff(found.x)) == {found.every}
    [row] = found.layers["gradient_norm"]
    assert row == [1 / (1 + x) for x in found.x]
    assert f"one of {found.every:,} is drawn" in flow.draw(job, found, file_format="svg").decode()


def test_a_neuron_is_one_layer_with_the_same_figures(store, trained, http):
    series = {name: [0.5, 0.25] for name in NEURON_METRICS} | {"gradient": [-0.2, 0.1], "sigmoid_prime": [0.25, 0.1875]}
    job_id = trained({"experiment": "neuron", "learning_rate": 0.1}, Curve(0, series))
    _, found = read_flow(store, job_id)

    assert found.x == [0, 1]
    assert found.layers["mean_sigmoid_prime"] == [[0.25, 0.1875]]
    assert found.layers["gradient_norm"] == [[0.2, 0.1]]
    assert found.layers["update_ratio"] == [[pytest.approx(0.04), pytest.approx(0.04)]]
    assert found.losses == {"quadratic": [0.125, 0.046875], "cross_entropy": [0.5, 0.25]}
    assert {"neuron", "updates made"} <= set(texts(http.get(f"/v1/jobs/{job_id}/flow.svg").text))


def test_what_has_no_colour_is_grey_and_the_axis_says_so(http, trained, submit):
    names = metrics_of(submit(NETWORK, name="not trained", priority=0).spec)
    curve = Curve(0, {name: [0.5, 0.25] for name in names} | {"update_ratio.1": [math.inf, 0.0]})

    svg = http.get(f"/v1/jobs/{trained(NETWORK, curve)}/flow.svg").text
    assert "finished epochs, counted from 0; grey: 0, infinite or not recorded" in texts(svg)
    nothing = http.get(f"/v1/jobs/{trained(NETWORK, Curve(0, {name: [0.0] for name in names}))}/flow.svg").text
    assert texts(nothing).count("no values above 0") == 4


def test_a_job_that_recorded_nothing_or_only_older_metrics_can_be_drawn(http, submit, trained):
    for spec in (NETWORK, {"experiment": "neuron"}):
        svg = http.get(f"/v1/jobs/{submit(spec, priority=0).id}/flow.svg").text
        assert texts(svg).count("no points yet") == 4
    old = trained(NETWORK, Curve(0, {"cost": [1.0, 0.5], "accuracy": [0.1, 0.2]}))
    assert texts(http.get(f"/v1/jobs/{old}/flow.svg").text).count("not recorded") == 4


def test_a_job_that_does_not_exist_has_no_flow(http):
    problem(http.get("/v1/jobs/job_none/flow.svg"), 404, "job_not_found")
    problem(http.get("/v1/jobs/job_none/flow.gif"), 422, "invalid_request")
