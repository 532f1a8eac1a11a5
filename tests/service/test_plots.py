"""What a plot shows and says: axes, legend, bands; and that equal curves give equal bytes."""

from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest

from costcurve.analysis.diagnosis import Diagnosis, Finding
from costcurve.core.curve import metrics_of
from service.diagnosis_reader import named_stretches
from service.plotting.curves import Line, draw
from service.plotting.figure import picture, style
from service.plotting.labels import label_of

MNIST = {"experiment": "mnist", "layers": [784, 100, 30, 10]}
DRAWN = {"metrics": ["cost"], "granularity": "epoch", "file_format": "svg"}


def comments(svg: bytes) -> str:
    """The texts of a picture, which stand in it as comments beside their outlines."""
    return "\n".join(part.partition(" -->")[0] for part in svg.decode().split("<!-- ")[1:])


def line(job, *costs: float | None, x: range | None = None) -> Line:
    return Line(job, x or range(len(costs)), {"cost": costs})


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_metric_has_a_label_that_fits_and_names_its_layer(submit):
    spec = submit(MNIST).spec
    for granularity in ("epoch", "step"):
        for metric in metrics_of(spec, granularity):
            text = label_of(metric, ["quadratic", "cross_entropy"]).text
            assert "_" not in text
            assert max(map(len, text.splitlines())) <= 38
    assert label_of("gradient_norm.2", ["quadratic"]).text == "layer 2: gradient norm ‖∂C/∂W‖"
    assert label_of("cost", ["quadratic"]).text == "cost (½ squared error)"
    assert label_of("cost", ["cross_entropy"]).text == "cost (nats)"
    assert label_of("accuracy", ["cross_entropy"]).scale == 100
    assert label_of("a_metric_of_the_future", []).text == "a_metric_of_the_future"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_legend_names_only_what_differs(submit):
    jobs = [submit({"experiment": "neuron", "loss": loss}) for loss in ("quadratic", "cross_entropy")]

    said = comments(draw([line(job, 1.0, 0.5) for job in jobs], **DRAWN)).splitlines()
    assert {"loss quadratic", "loss cross_entropy", "2 jobs compared: one sigmoid neuron", "updates made"} <= set(said)
    alike = [submit(), submit()]
    said = comments(draw([line(job, 1.0) for job in alike], **DRAWN)).splitlines()
    assert {job.id for job in alike} <= set(said)
    assert "loss" not in comments(draw([line(alike[0], 1.0)], **DRAWN | {"title": "T"}))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_change_of_the_schedule_is_marked_and_named(submit):
    change = {"from_epoch": 2, "loss": "cross_entropy"}
    job = submit({"experiment": "neuron", "loss": "quadratic", "schedule": [change]})
    plain = submit({"experiment": "neuron", "loss": "quadratic"})
    drawn = draw([line(job, 4.0, 3.0, 2.0, 1.0)], **DRAWN)
    said = comments(drawn)

    assert "then cross_entropy, sum_outputs, 0.15 from 2" in said.replace("\n", " ")
    assert "(each loss in its own unit)" in said.replace("\n", " ")
    dotted = [draw([line(each, 4.0, 3.0, 2.0, 1.0)], **DRAWN).count(b"stroke-dasharray") for each in (job, plain)]
    assert dotted[0] == dotted[1] + 1
    both = comments(draw([line(each, 1.0, 0.5) for each in (job, plain)], **DRAWN)).splitlines()
    assert {"schedule cross_entropy, sum_outputs, 0.15 from 2", "schedule none"} <= set(both)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_cannot_be_drawn_is_left_out(submit):
    job = submit()
    for log in (False, True):
        for costs in ((), (inf,), (None, None), (1e308, -1e308, 5e-324), (0.0, -1.0), (1.0, inf, 2.0)):
            assert draw([line(job, *costs)], log=log, **DRAWN).startswith(b"<?xml")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_by_steps_the_mean_stands_in_a_band_where_that_can_be_seen(submit):
    jobs = [submit({**MNIST, "learning_rate": float(rate)}) for rate in range(1, 6)]
    x = range(0, 300, 100)
    series = {"cost": [1.0, 0.5, 0.25], "cost_min": [0.5, 0.25, 0.0], "cost_max": [2.0, 1.0, 0.5]}
    lines = [Line(job, x, series) for job in jobs]
    drawn = DRAWN | {"granularity": "step"}

    assert "mean, in a band from lowest to highest" in comments(draw(lines[:4], **drawn))
    assert "band" not in comments(draw(lines, **drawn))
    assert "band" not in comments(draw([Line(jobs[0], x, {"cost": series["cost"]})], **drawn))


@pytest.mark.parametrize("file_format", ["svg", "png"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_equal_curves_give_equal_bytes_from_whatever_thread(submit, file_format):
    lines = [line(submit(), 1.0, 0.5, 0.25)]
    with ThreadPoolExecutor(4) as threads:
        pictures = list(threads.map(lambda _: draw(lines, **DRAWN | {"file_format": file_format}), range(4)))

    assert len(set(pictures)) == 1


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("metric", ["accuracy", "validation_accuracy", "saturated_fraction.1"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_share_that_stands_still_stands_still_on_an_axis_from_0_to_100_percent(submit, metric, log):
    still = Line(submit(MNIST), range(3), {metric: [0.089, 0.097, 0.105]})
    said = comments(draw([still], **DRAWN | {"metrics": [metric]}, log=log)).splitlines()

    assert {"0", "20", "40", "60", "80", "100"} <= set(said)
    assert ("chance" in said) == (metric != "saturated_fraction.1")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_several_jobs_share_that_axis_and_an_output_goes_from_0_to_1_and_a_cost_from_0(submit):
    jobs = [submit(MNIST), submit({**MNIST, "seed": 1})]
    lines = [Line(job, range(2), {"accuracy": [0.95, 0.96]}) for job in jobs]
    assert {"0", "100", "chance"} <= set(comments(draw(lines, **DRAWN | {"metrics": ["accuracy"]})).splitlines())
    neuron = Line(submit(), range(2), {"output": [0.98, 0.97], "cost": [0.48, 0.47]})
    for metric, ends in (("output", {"0.0", "1.0"}), ("cost", {"0.0", "0.4"})):
        assert ends <= set(comments(draw([neuron], **DRAWN | {"metrics": [metric]})).splitlines())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_stretches_that_findings_name_are_shaded_and_named_in_the_legend(submit):
    job = submit({"experiment": "mnist", "steps_per_epoch": 200})
    evidence = {"from_epoch": 2, "to_epoch": 4}
    still = Finding("plateau", "warning", "From epoch 2 to epoch 4 nothing moved: so it is.", "", evidence)
    fine = Finding("saturated_but_learning", "info", "It learns.", "", evidence)
    diagnosis = Diagnosis("", [still, fine])

    [stretch] = named_stretches(diagnosis, job, "epoch")
    assert (stretch.first, stretch.last, stretch.text) == (1.5, 4.5, "From epoch 2 to epoch 4 nothing moved")
    [by_steps] = named_stretches(diagnosis, job, "step")
    assert (by_steps.first, by_steps.last) == (400, 1000)
    plain, shaded = (draw([line(job, 1.0, 0.5)], **DRAWN, stretches=each) for each in ((), [stretch]))
    assert stretch.text in comments(shaded)
    assert stretch.text not in comments(plain)


def test_a_title_is_broken_into_lines_and_makes_room_for_itself():
    def height(title: str) -> float:
        return float(picture(title, 1, lambda _: None, file_format="svg").split(b'height="')[1].split(b"pt")[0])

    assert height("x" * 200) > height("x")


def test_lines_of_up_to_28_jobs_look_different():
    assert len({tuple(style(number).values()) for number in range(28)}) == 28
