"""The plots of a sweep, as the service draws them from a store of each kind."""

import re
import xml.etree.ElementTree

import pytest

from costcurve.analysis.bands import band_of
from costcurve.core.curve import Curve
from costcurve.core.job import Failure
from costcurve.core.sweep import SweepSubmission
from costcurve.store.pagination import CellQuery, JobQuery
from service.plotting.sweep_bands import DrawnCell, cell_names
from tests.helpers.pages import texts
from tests.helpers.problems import problem
from tests.helpers.reports import RESULT, mnist_result, progress
from tests.helpers.writing import fail, finish, record

LOSSES = {"loss": ["quadratic", "cross_entropy"]}


@pytest.fixture
def trained(store, claim):
    """Queue a sweep and train its jobs in turn, each to these costs: the sweep's path."""

    def trained(grid: dict, *curves: list[float], repeats: int = 1, **spec: object) -> str:
        spec = {"experiment": "neuron", **spec}
        sweep = store.submit_sweep(
            SweepSubmission.model_validate({"spec": spec, "grid": grid, "repeats": repeats})
        ).sweep
        for costs in curves:
            held = claim()
            record(store, held, progress(len(costs)), Curve(0, {"cost": costs, "output": costs}))
            if spec["experiment"] == "mnist":
                finish(store, held, mnist_result(round(9000 + costs[-1])))
            else:
                finish(store, held, RESULT.model_copy(update={"final_output": costs[-1] / 100}))
        return f"/v1/sweeps/{sweep.id}"

    return trained


def test_a_sweep_is_plotted_with_a_legend_that_names_what_differs_and_what_a_band_is(http, trained):
    init = ["normal", {"scheme": "constant", "weight": 2, "bias": 2.0}]
    path = trained(
        LOSSES | {"init": init, "epochs": [2]}, *[[8.0, float(end)] for end in [5, 3, 4, 2, 6, 4, 5, 3]], repeats=2
    )
    answer = http.get(f"{path}/curve.svg?metrics=cost,output")

    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    shown = texts(answer.text)
    assert [text for text in shown if text.startswith("loss ")] == [
        f"loss {loss}, init {init}"
        for init in ("constant (weight 2, bias 2)", "normal")
        for loss in ("cross_entropy", "quadratic")
    ], "the best first, and not the epochs, which are the same"
    assert {
        "One sigmoid neuron: all 4 cells",
        "mean of 2 repeats",
        "lowest to highest",
        "updates made",
        "output a",
    } <= set(shown)
    assert "mean of the remaining repeats where others have ended" not in shown
    assert http.get(f"{path}/curve.png?log=true").content.startswith(b"\x89PNG")


def test_an_output_stands_on_an_axis_from_0_to_1_and_a_cost_on_one_from_0(http, trained):
    path = trained(LOSSES, *[[0.48, 0.47, 0.46, 0.45]] * 4, repeats=2)

    assert {"0.0", "0.4"} <= set(texts(http.get(f"{path}/curve.svg?metrics=cost").text))


def test_only_the_best_cells_are_drawn_and_the_title_says_so(http, trained):
    path = trained({"epochs": [*range(1, 11)]}, *[[0.5, float(end)] for end in range(10, 0, -1)])

    def drawn(query: str) -> list[str]:
        shown = texts(http.get(f"{path}/curve.svg?{query}").text)
        return [text for text in shown if re.match(r"epochs \d|One sigmoid", text)]

    best = [f"epochs {epochs}" for epochs in range(10, 2, -1)]
    assert sorted(drawn("")) == sorted(["One sigmoid neuron: the 8 best of 10 cells", *best])
    assert sorted(drawn("best=1")) == ["One sigmoid neuron: the best of 10 cells", "epochs 10"]
    assert sorted(drawn("cells=0,4")) == ["One sigmoid neuron: 2 of 10 cells", "epochs 1", "epochs 5"]
    assert sorted(drawn("cells=4")) == ["One sigmoid neuron: cell 4 of 10", "epochs 5"]
    assert drawn("title=mine&best=1") == ["epochs 10"]


def test_ten_repeats_and_more_have_a_standard_deviation(http, trained):
    path = trained({}, *[[1.0, float(end)] for end in range(10)], repeats=10)
    shown = texts(http.get(f"{path}/curve.svg").text)

    assert {"mean of 10 repeats", "± 1 standard deviation, within lowest and highest"} <= set(shown)


def test_where_some_repeats_have_ended_the_others_are_shown_as_what_they_are(http, store, trained):
    path = trained({}, [3.0, 2.0, 1.0], [3.0, 2.0], repeats=3)
    shown = texts(http.get(f"{path}/curve.svg").text)

    assert {"mean of 2 of 3 repeats", "mean of the remaining repeats where others have ended"} <= set(shown)


def test_a_sweep_that_has_not_begun_is_plotted_and_says_so(http, trained):
    assert "no points yet" in texts(http.get(f"{trained(LOSSES, repeats=2)}/curve.svg").text)


def test_a_failed_job_is_drawn_as_far_as_it_came_until_it_is_retried(http, store, trained, claim):
    path = trained({}, [3.0, 2.0, 1.0], repeats=2)
    held = claim()
    record(store, held, progress(1), Curve(0, {"cost": [3.0], "output": [3.0]}))
    fail(store, held, Failure("diverged", "cost was no longer finite"))
    assert "mean of 2 repeats" in texts(http.get(f"{path}/curve.svg").text)

    http.post(f"{path}/retry")
    assert "mean of 2 repeats" not in texts(http.get(f"{path}/curve.svg").text)


def test_an_unchanged_sweep_is_not_drawn_again(app, http, store, trained):
    path = trained(LOSSES, [2.0, 1.0], [2.0, 1.5])
    first = http.get(f"{path}/curve.svg")
    tag = first.headers["etag"]

    assert http.get(f"{path}/curve.svg").content == first.content
    assert len(app.state.pictures.keys) == 1
    assert http.get(f"{path}/curve.svg", headers={"If-None-Match": tag}).status_code == 304
    assert http.get(f"{path}/curve.svg?log=true", headers={"If-None-Match": tag}).status_code == 200
    job = store.list(JobQuery()).items[0]
    http.delete(f"/v1/jobs/{job.id}")
    assert http.get(f"{path}/curve.svg", headers={"If-None-Match": tag}).status_code == 200


def test_long_curves_are_drawn_by_every_so_many_points_and_the_axis_says_so(http, trained):
    path = trained({}, [float(x) for x in range(1200)], [float(x) for x in range(1100)], repeats=2)
    shown = texts(http.get(f"{path}/curve.svg").text)

    assert "updates made (one of 3 points is drawn)" in shown


def test_a_cell_that_does_not_exist_or_has_no_jobs_left_is_refused(http, store, trained):
    path = trained({"epochs": [1, 2]}, [1.0])
    job = store.cells(path.rpartition("/")[2], CellQuery(order="cell")).items[0].jobs[0]
    store.delete(job.id)

    for query in ("cells=2", "cells=0", "cells=x", "cells=", "cells=0,", "cells=-1"):
        body = problem(http.get(f"{path}/curve.svg?{query}"), 422, "invalid_request")
        assert body["errors"][0]["pointer"] == "/query/cells"
    for query in ("best=0", "best=17", "best=2&cells=1"):
        body = problem(http.get(f"{path}/curve.svg?{query}"), 422, "invalid_request")
        assert body["errors"][0]["pointer"] == "/query/best"
    problem(http.get(f"{path}/curve.svg?metrics=accuracy"), 422, "unknown_metric")
    problem(http.get("/v1/sweeps/swp_0/curve.svg"), 404, "sweep_not_found")


@pytest.mark.parametrize("cost", [0.0, 1e308, -1e308, float("inf"), 1e-320])
def test_extreme_values_are_drawn_all_the_same(http, trained, cost):
    path = trained({}, [cost, 1.0], [1.0, 2.0], [cost, 0.5], repeats=3)

    for query in ("metrics=cost", "metrics=cost&log=true"):
        xml.etree.ElementTree.fromstring(http.get(f"{path}/curve.svg?{query}").text)  # noqa: S314 - our own


def test_cells_with_fewer_repeats_say_so():
    cells = [
        DrawnCell({"layers": [784, 30, 10], "loss": loss}, count, {"cost": band_of([0], [[1.0]] * count, "extremes")})
        for loss, count in (("quadratic", 2), ("cross_entropy", 1))
    ]
    assert cell_names(cells, 3) == ["loss quadratic (2 of 3 repeats)", "loss cross_entropy (1 of 3 repeats)"]
    assert cell_names(cells[:1], 3) == ["layers 784-30-10, loss quadratic"]


def test_a_cell_with_a_schedule_is_named_by_its_changes():
    schedules = [
        [],
        [{"from_epoch": 3, "loss": "cross_entropy"}],
        [{"from_epoch": k, "learning_rate": 1 / k} for k in range(1, 6)],
    ]
    cells = [DrawnCell({"schedule": schedule}, 1, {}) for schedule in schedules]

    assert cell_names(cells, 1) == ["schedule none", "schedule cross_entropy from 3", "schedule 5 changes from 1 on"]
