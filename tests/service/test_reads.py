"""How many transactions and statements a GET request takes at most, over a store of each kind."""

import pytest

from costcurve.core.curve import NEURON_METRICS, Curve, metrics_of
from costcurve.core.job import Progress
from costcurve.core.spec import MnistSpec
from costcurve.core.sweep import SweepSubmission
from costcurve.store.job_update import JobUpdate
from costcurve.store.pagination import JobQuery
from tests.helpers.reports import RESULT, mnist_result, model, progress, steps

# Transactions and statements (BEGIN is none) of each request. The jobs are neurons with 51 points, a neuron with 2,001
# points, two networks with 3 epochs, and a sweep of 4 cells and 5 repeats. A comparison has 16 jobs.
READS = {
    "/jobs?limit=20": (1, 3),
    "/jobs/{neuron}": (1, 2),
    "/jobs/{neuron}/events": (1, 2),
    "/jobs/{neuron}/curve": (1, 3),
    "/jobs/{neuron}/curve?max_points=20": (1, 3),
    "/jobs/{neuron}/curve?from=60": (1, 3),
    "/jobs/{neuron}/curve?granularity=step": (1, 4),
    "/jobs/{long}/curve": (2, 4),
    "/jobs/{long}/curve?max_points=20": (2, 4),
    "/jobs/{network}/curve?granularity=step": (1, 3),
    "/jobs/{neuron}/curve.csv": (2, 2),
    "/jobs/{neuron}/curve.csv?max_points=20": (1, 2),
    "/jobs/{neuron}/transcript": (2, 4),
    "/jobs/{neuron}/curve.svg": (2, 6),
    "/jobs/{long}/curve.svg": (2, 6),
    "/jobs/{network}/curve.svg?granularity=step": (2, 8),
    "/jobs/{network}/flow.svg": (2, 6),
    "/jobs/{long}/flow.svg": (2, 5),
    "/jobs/{neuron}/diagnosis": (1, 6),
    "/jobs/{network}/diagnosis": (1, 6),
    "/jobs/{network}/model": (1, 3),
    "/jobs/{network}/confusion": (1, 1),
    "/jobs/{network}/confusion.svg": (1, 4),
    "/jobs/{network}/mistakes": (1, 1),
    "/jobs/{network}/mistakes.svg": (1, 4),
    "/compare?{sixteen}": (2, 5),
    "/compare.csv?{sixteen}": (2, 4),
    "/compare.csv?max_points=300&{sixteen}": (1, 4),
    "/compare.svg?{sixteen}": (2, 5),
    "/compare/diagnosis?{sixteen}": (1, 2),
    "/compare/diagnosis?{networks}": (1, 5),
    "/sweeps": (1, 3),
    "/sweeps/{sweep}": (1, 5),
    "/sweeps/{sweep}/cells": (1, 5),
    "/sweeps/{sweep}/curve.svg": (2, 8),
}
# They read neither jobs nor curves.
_OTHERS = {"/v1/version", "/v1/presets", "/v1/sweep-presets", "/v1/workers", "/v1/me", "/v1/keys", "/v1/projects"}


def flat(points: int, metrics: tuple[str, ...] = NEURON_METRICS) -> Curve:
    return Curve(0, {metric: [0.5 + 1 / (1 + x) for x in range(points)] for metric in metrics})


@pytest.fixture
def names(store, submit, claim_as, hire) -> dict[str, str]:
    """What stands in the routes for jobs and the sweep, all of them trained."""
    neuron, long = submit(), submit()
    grid = {"learning_rate": [1.0, 2.0, 3.0, 4.0]}
    sweep = store.submit_sweep(
        SweepSubmission.model_validate({"spec": {"experiment": "neuron"}, "grid": grid, "repeats": 5})
    ).sweep
    swept = [job.id for job in store.list(JobQuery(sweep_id=sweep.id)).items]
    networks = [submit({"experiment": "mnist"}) for _ in range(2)]
    worker = hire()
    held = claim_as(worker, 100)
    lengths = {each.job_id: 2001 if each.job_id == long.id else 51 for each in held}
    updates = [
        JobUpdate(each, progress(lengths[each.job_id] - 1), flat(lengths[each.job_id]), outcome=RESULT) for each in held
    ]
    assert len(updates) == 22
    assert set(store.write(updates)) == {None}
    done = Progress(epoch=3, epochs=30, step=15_000, steps=150_000, eta_seconds=None)
    held = claim_as(worker, 100)
    assert len(held) == 2
    for each in held:
        assert isinstance(each.spec, MnistSpec)
        curve, figures = flat(3, metrics_of(each.spec)), dict.fromkeys(metrics_of(each.spec)[5:], 0.5)
        update = JobUpdate(
            each, done, curve, outcome=mnist_result(9000), steps=steps(0, 2.0, 1.0), start=figures, model=model()
        )
        assert store.write([update]) == [None]
    return {
        "neuron": neuron.id,
        "long": long.id,
        "network": networks[0].id,
        "sweep": sweep.id,
        "networks": "&".join(f"job={job.id}" for job in networks),
        "sixteen": "&".join(f"job={job_id}" for job_id in swept[:16]),
    }


def test_a_request_takes_few_transactions_and_statements(store, http, names, statements, record_property):
    begins = store._database.engine.dialect.name == "sqlite"  # the other driver begins without a statement
    found = {}
    for route in READS:
        statements.clear()
        answer = http.get(f"/v1{route.format(**names)}")
        assert answer.status_code == 200, answer.text
        transactions = statements["transactions"]
        found[route] = transactions, statements["statements"] - begins * transactions
        record_property(route, "{} / {}".format(*found[route]))

    over = {
        route: of_it for route, of_it in found.items() if any(a > b for a, b in zip(of_it, READS[route], strict=True))
    }
    assert over == {}


def test_every_route_that_reads_has_its_number_of_statements(app):
    def path_of(route: str) -> str:
        for name, parameter in (("neuron", "job_id"), ("long", "job_id"), ("network", "job_id"), ("sweep", "sweep_id")):
            route = route.replace(f"{{{name}}}", f"{{{parameter}}}")
        return "/v1" + route.partition("?")[0].replace(".svg", ".{file_format}")

    routes = {path for path, methods in app.openapi()["paths"].items() if path.startswith("/v1") and "get" in methods}
    assert {path_of(route) for route in READS} == routes - _OTHERS
