"""The client, synchronous and asynchronous, against a real service and a real worker."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from costcurve import ApiError, AsyncClient, Client, Job, ServiceUnreachable, SweepWaitTimeout, WaitTimeout
from costcurve.core.presets import PRESETS
from tests.helpers.both_clients import a_client
from tests.helpers.processes import Deployment

LONG = {"experiment": "neuron", "epochs": 1_000_000}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Deployment(Path(tmp_path_factory.mktemp("home"))) as deployment:
        deployment.start_workers()
        deployment.start_service()
        yield deployment.url


@pytest.fixture(scope="module")
def long_job(url: str) -> Job:
    """A job with more points than one answer holds."""
    with Client(url) as client:
        return client.wait(client.submit({"experiment": "neuron", "epochs": 100_001}).id, timeout=120)


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, url: str) -> Iterator[Any]:
    with a_client(request.param, url) as client:
        yield client


@pytest.fixture(params=["sync", "async"])
def idle(request: pytest.FixtureRequest, service: Deployment) -> Iterator[Any]:
    """A client of a service without workers."""
    with a_client(request.param, service.url) as client:
        yield client


def test_a_job_is_submitted_waited_for_and_has_a_result(client):
    seen = []
    job = client.submit({"epochs": 50}, preset="neuron-good-start", name="mine", tags={"of": "test"})
    assert (job.status, job.is_terminal, job.name, job.tags) == ("queued", False, "mine", {"of": "test"})

    ended = client.wait(job.id, timeout=200, on_update=lambda job: seen.append(job.status))

    assert ended.succeeded
    assert 0 < ended.result["final_output"] < 0.8
    assert ended.progress.epoch == ended.progress.epochs == 50
    assert seen[-1] == "succeeded"
    assert client.get(job.id) == ended


def test_waiting_returns_a_job_that_failed(client):
    job = client.submit(LONG, max_runtime_seconds=0.01)
    ended = client.wait(job.id, timeout=200)
    assert (ended.status, ended.error.code, ended.succeeded) == ("failed", "timed_out", False)


def test_a_running_job_is_cancelled_and_waiting_returns_it(client):
    job = client.submit(LONG)
    with pytest.raises(WaitTimeout):
        client.wait(job.id, timeout=0)
    client.cancel(job.id)
    client.cancel(job.id)
    assert client.wait(job.id, timeout=200).status == "cancelled"


def test_a_finished_job_cannot_be_cancelled(client):
    job = client.wait(client.submit({"experiment": "neuron", "epochs": 1}).id, timeout=200)
    with pytest.raises(ApiError) as caught:
        client.cancel(job.id)
    assert (caught.value.status, caught.value.code) == (409, "invalid_transition")


def test_a_queued_job_is_paused_resumed_and_waited_for_meanwhile(idle):
    job = idle.submit(LONG)
    for _ in range(2):
        assert idle.pause(job.id).status == "paused"
    with pytest.raises(WaitTimeout, match="still paused"):
        idle.wait(job.id, timeout=0.1)
    assert job.id in {each.id for each in idle.iterate(status="paused")}

    resumed = idle.resume(job.id)
    assert resumed.status == "queued"
    assert resumed.queue_position >= 1
    assert resumed.status_reason == "resumed by its client; no worker is alive"


def test_a_fork_is_its_parent_with_a_change_at_its_epoch(idle):
    job = idle.submit({"experiment": "neuron", "loss": "quadratic"}, tags={"a": "b"})
    fork = idle.fork(job.id, at_epoch=5, loss="cross_entropy", name="rescued")
    [change] = fork.spec["schedule"]

    assert (fork.parent_id, fork.name, fork.tags) == (job.id, "rescued", {"a": "b"})
    assert (change["from_epoch"], change["loss"], change["learning_rate"]) == (5, "cross_entropy", 0.15)
    assert {**fork.spec, "schedule": []} == job.spec
    again = [idle.fork(job.id, at_epoch=5, learning_rate=1.0, idempotency_key=f"fork of {job.id}").id for _ in range(2)]
    assert again[0] == again[1]
    with pytest.raises(ApiError) as caught:
        idle.fork(job.id, at_epoch=300, loss="cross_entropy")
    assert [error.pointer for error in caught.value.errors] == ["/at_epoch"]


def test_a_clone_is_the_same_job_but_for_the_overrides(idle):
    job = idle.submit(LONG, name="first", tags={"a": "b"})
    clone = idle.clone(job.id, spec={"epochs": 5}, name=None)
    assert (clone.parent_id, clone.name, clone.tags) == (job.id, None, {"a": "b"})
    assert clone.spec == {**job.spec, "epochs": 5}
    assert idle.clone(job.id).spec_hash == job.spec_hash

    again = [idle.clone(job.id, idempotency_key=f"clone of {job.id}").id for _ in range(2)]
    assert again[0] == again[1]
    with pytest.raises(ApiError) as caught:
        idle.clone(job.id, spec={"epochs": 0})
    assert [field.pointer for field in caught.value.errors] == ["/spec/epochs"]


def test_a_job_is_changed_and_what_is_not_named_stays(idle):
    job = idle.submit(LONG, name="first", tags={"a": "b"})
    changed = idle.update(job.id, priority=70, pinned=True)
    assert (changed.name, changed.tags, changed.priority, changed.pinned) == ("first", {"a": "b"}, 70, True)
    assert idle.update(job.id, name=None).name is None


def test_only_a_job_that_has_ended_is_deleted(idle):
    job = idle.submit(LONG)
    with pytest.raises(ApiError) as caught:
        idle.delete(job.id)
    assert caught.value.code == "invalid_transition"
    idle.cancel(job.id)
    assert idle.delete(job.id) is None
    for look in (idle.get, idle.delete):
        with pytest.raises(ApiError) as caught:
            look(job.id)
        assert caught.value.code == "job_not_found"


def test_events_tell_what_happened_to_a_job(idle):
    job = idle.submit(LONG)
    idle.cancel(job.id)
    submitted, cancelled = idle.events(job.id)
    assert (submitted.from_status, submitted.to_status, submitted.by) == (None, "queued", "client")
    assert (cancelled.from_status, cancelled.to_status, cancelled.why) == (
        "queued",
        "cancelled",
        "cancelled by its client",
    )


def test_workers_are_listed_while_they_are_alive(client):
    client.wait(client.submit({"experiment": "neuron", "epochs": 1}).id, timeout=200)
    [worker] = client.workers()
    assert worker.id
    assert worker.pid > 0
    assert worker.lease_expires_at > worker.heartbeat_at


def test_curve_csv_plot_and_transcript_tell_the_same_training(client):
    job = client.wait(client.submit({"experiment": "neuron", "epochs": 20}).id, timeout=200)

    curve = client.curve(job.id, ["output", "cost"], first=5, last=20)
    assert curve.x == list(range(5, 21))
    assert list(curve.series) == ["output", "cost"]
    assert curve.series["output"][-1] == job.result["final_output"]
    assert client.curve(job.id, "output,cost", first=5, last=20) == curve

    rows = client.curve_csv(job.id, metrics=["output"]).split("\r\n")
    assert rows[0] == "x,output"
    assert rows[21] == f"20,{job.result['final_output']!r}"

    assert client.transcript(job.id).splitlines()[20].startswith("Epoch 20: ")
    assert b"<svg" in client.plot(job.id, title="σ < 1 & more")
    assert client.plot([job.id], format="png", metrics="cost", log=True).startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_curve_longer_than_one_answer_comes_back_whole(client, long_job):
    curve = client.curve(long_job.id, ["output"])
    assert curve.x == list(range(100_002))
    assert curve.series["output"][-1] == long_job.result["final_output"]
    assert (curve.total_points, curve.next_from, curve.sampled) == (100_002, 100_002, False)


@pytest.mark.slow
def test_a_long_curve_is_sampled_when_few_points_are_wanted(client, long_job):
    curve = client.curve(long_job.id, "cost,output", max_points=500)

    assert (curve.sampled, curve.total_points, curve.next_from) == (True, 100_002, 100_002)
    assert len(curve.x) <= 500
    assert (curve.x[0], curve.x[-1]) == (0, 100_001)
    whole = client.curve(long_job.id, "output")
    assert curve.series["output"] == [whole.series["output"][x] for x in curve.x]


def test_several_jobs_are_compared_in_one_plot(client):
    jobs = [client.submit(preset=name) for name in ("neuron-slow-quadratic", "neuron-slow-cross-entropy")]
    ids = [client.wait(job.id, timeout=200).id for job in jobs]
    assert b"<svg" in client.plot(ids, metrics=["output", "cost"])


def test_jobs_are_listed_by_filter_and_page(client, request):
    mark = {"marked by": request.node.name}
    ids = [client.submit(LONG, tags=mark).id for _ in range(3)]
    try:
        first = client.list(tags=mark, limit=2, order="created_at")
        assert [job.id for job in first.items] == ids[:2]
        second = client.list(tags=mark, limit=2, order="created_at", cursor=first.next_cursor)
        assert [job.id for job in second.items] == ids[2:]
        assert second.next_cursor is None
        assert [job.id for job in client.iterate(tags=mark, limit=1)] == ids[::-1]
        assert list(client.iterate(tags=mark, loss="quadratic")) == []
    finally:
        for job_id in ids:
            client.cancel(job_id)


def test_a_sweep_is_submitted_waited_for_and_its_jobs_are_listed(client):
    grid = {"loss": ["quadratic", "cross_entropy"], "learning_rate": (0.1, 0.2)}
    seen = []
    sweep = client.submit_sweep({"epochs": 3}, preset="neuron-good-start", grid=grid, repeats=2, name="mine")
    assert (sweep.cells, sweep.total, sweep.ended, sweep.is_terminal, sweep.name) == (4, 8, 0, False, "mine")

    ended = client.wait_for_sweep(sweep.id, timeout=200, on_update=lambda sweep: seen.append(sweep.ended))

    assert (ended.succeeded, ended.ended, seen[-1]) == (True, 8, 8)
    assert seen == sorted(seen)
    listed = client.list_sweeps(limit=1).items[0]
    assert client.get_sweep(sweep.id, leaderboard=0) == ended == listed.model_copy(update={"ranking": ended.ranking})
    jobs = list(client.iterate(sweep_id=sweep.id, order="created_at"))
    assert [(job.cell, job.repeat, job.spec["seed"]) for job in jobs] == [
        (cell, repeat, repeat) for repeat in range(2) for cell in range(4)
    ]
    assert {job.result["final_cost"] for job in jobs if job.repeat == 0} == {
        job.result["final_cost"] for job in jobs if job.repeat == 1
    }, "one neuron draws nothing: its repeats are all alike"


def test_a_sweep_tells_which_cell_is_best_and_by_how_much(client):
    grid = {"loss": ["quadratic", "cross_entropy"], "epochs": [100, 200, 300]}
    ended = client.wait_for_sweep(client.submit_sweep(preset="neuron-slow-quadratic", grid=grid, repeats=2).id)
    best, *others = client.get_sweep(ended.id, leaderboard=3).leaderboard
    page = client.sweep_cells(ended.id, order="cell", limit=5)
    cells = [*page.items, *client.sweep_cells(ended.id, order="cell", cursor=page.next_cursor).items]

    assert (page.ranking.figure, page.ranking.better) == ("target_distance", "lower")
    assert [cell.settings for cell in cells] == [
        {"loss": loss, "epochs": epochs} for loss in grid["loss"] for epochs in grid["epochs"]
    ]
    assert best == cells[5], "cross-entropy cures the slow start, and the longer it is trained the better"
    assert [cell.rank for cell in (best, *others)] == [1, 2, 3]
    outputs = {cell.cell: [client.get(job.id).result["final_output"] for job in cell.jobs] for cell in cells}
    for cell in cells:
        assert cell.figures["target_distance"].mean == cell.figures["final_output"].mean == outputs[cell.cell][0]
        assert (cell.figures["final_output"].n, cell.figures["final_output"].stdev) == (2, 0)
        assert cell.difference.mean == outputs[cell.cell][0] - outputs[5][0]
        assert (cell.difference.n, cell.difference.to_cell, cell.difference.standard_error) == (2, 5, 0)


def test_the_best_cells_of_a_sweep_are_plotted(client):
    grid = {"epochs": [10, 20, 30]}
    sweep = client.wait_for_sweep(client.submit_sweep(preset="neuron-good-start", grid=grid, repeats=2).id)

    svg = client.plot_sweep(sweep.id, metrics=["output", "cost"], best=2).decode()
    assert "One sigmoid neuron: the 2 best of 3 cells" in svg
    assert ("epochs 30" in svg, "epochs 10" in svg) == (True, False)
    assert "mine" in client.plot_sweep(sweep.id, cells=[0, 2], granularity="step", log=True, title="mine").decode()
    assert client.plot_sweep(sweep.id, format="png").startswith(b"\x89PNG")


def test_only_the_failed_jobs_of_a_sweep_are_retried(client):
    one_diverges = {"experiment": "neuron", "init": "zeros", "learning_rate": 1e200, "epochs": 3}
    sweep = client.submit_sweep(one_diverges, grid={"input": [1.0, 1e200]}, repeats=2)
    assert client.wait_for_sweep(sweep.id, timeout=200).counts.items() >= {("succeeded", 2), ("failed", 2)}
    before = {job.id: job for job in client.iterate(sweep_id=sweep.id)}
    assert client.retry_sweep(sweep.id).total == 4
    ended = client.wait_for_sweep(sweep.id, timeout=200)

    assert ended.counts.items() >= {("succeeded", 2), ("failed", 2)}, "it diverges each time"
    after = list(client.iterate(sweep_id=sweep.id))
    assert len(after) == 6
    for job in after:
        if job.id not in before:
            failed = before[job.parent_id]
            assert (failed.status, job.spec, job.cell, job.repeat) == ("failed", failed.spec, 1, failed.repeat)


def test_a_sweep_that_runs_is_cancelled_and_waiting_returns_it(client):
    sweep = client.submit_sweep(LONG, grid={"loss": ["quadratic", "cross_entropy"]}, repeats=2)
    with pytest.raises(SweepWaitTimeout, match="4 jobs that have not ended") as caught:
        client.wait_for_sweep(sweep.id, timeout=0)
    assert caught.value.sweep.id == sweep.id
    client.cancel_sweep(sweep.id)
    client.cancel_sweep(sweep.id)
    ended = client.wait_for_sweep(sweep.id, timeout=200)
    assert (ended.counts["cancelled"], ended.succeeded) == (4, False)


def test_sweeps_are_listed_page_by_page(idle):
    made = [idle.submit_sweep(preset="neuron-good-start").id for _ in range(3)]
    first = idle.list_sweeps(limit=2)
    second = idle.list_sweeps(limit=1, cursor=first.next_cursor)
    assert [sweep.id for sweep in [*first.items, *second.items]] == made[::-1]


def test_a_sweep_sent_twice_with_one_key_is_made_once(idle):
    first, again = (idle.submit_sweep(LONG, repeats=2, idempotency_key="sweep") for _ in range(2))
    assert first == again


def test_a_sweep_that_is_not_valid_names_each_bad_field(client):
    with pytest.raises(ApiError) as caught:
        client.submit_sweep({"experiment": "neuron"}, grid={"learning_rate": [1, 0], "loss": ["hinge"]})
    assert {field.pointer for field in caught.value.errors} == {"/grid/learning_rate/1", "/grid/loss/0"}


def test_a_sweep_that_does_not_exist_is_not_found(client):
    for ask in (client.get_sweep, client.sweep_cells, client.cancel_sweep, client.retry_sweep, client.wait_for_sweep):
        with pytest.raises(ApiError) as caught:
            ask("swp_none")
        assert (caught.value.status, caught.value.code) == (404, "sweep_not_found")
    with pytest.raises(ValueError, match="a sweep's id cannot be empty"):
        client.get_sweep("")


def test_validation_and_presets_queue_nothing(client):
    validation = client.validate({"experiment": "mnist", "init": "zeros"})
    assert validation.total_steps == 150_000
    assert [warning.code for warning in validation.warnings] == ["symmetric_init"]
    assert validation.warnings[0].pointer == "/spec/init"
    assert validation.forecast.method == "drawn_weights"
    assert [preset.name for preset in client.presets()] == list(PRESETS)


def test_a_submission_has_warnings_and_its_flow_can_be_plotted(client):
    job = client.submit(preset="mnist-slow-quadratic")
    assert [warning.code for warning in job.warnings] == ["output_saturated_quadratic"]
    assert client.clone(job.id, spec={"loss": "cross_entropy"}).warnings == []
    assert client.flow_plot(job.id).startswith(b"<?xml")
    assert client.flow_plot(job.id, format="png").startswith(b"\x89PNG")


def test_a_submission_that_is_not_valid_names_each_bad_field(client):
    with pytest.raises(ApiError) as caught:
        client.submit({"experiment": "neuron", "epochs": 0, "bogus": 1}, remote="not ours")
    assert caught.value.status == 422
    assert {field.pointer for field in caught.value.errors} == {"/spec/epochs", "/spec/bogus", "/remote"}


@pytest.mark.parametrize("job_id", ["job_none", "..", "a/b", "%2e", "ü", "\udcff", "x" * 3000])
def test_a_job_that_does_not_exist_is_not_found_whatever_it_is_called(client, job_id):
    with pytest.raises(ApiError) as caught:
        client.get(job_id)
    assert caught.value.status == 404


def test_the_service_tells_its_version_and_that_it_is_ready(client):
    assert client.version().count(".") == 2
    assert client.ready() is True


def test_nobody_at_the_address_is_unreachable_and_not_ready():
    with Client("http://127.0.0.1:1") as client:
        assert client.ready() is False
        with pytest.raises(ServiceUnreachable, match="start one with `costcurve up`"):
            client.get("job_1")


def test_many_jobs_are_awaited_at_once(url):
    async def run_all() -> list[str]:
        async with AsyncClient(url) as client:
            jobs = [await client.submit({"experiment": "neuron", "seed": seed}) for seed in range(5)]
            return [job.status for job in await asyncio.gather(*(client.wait(job.id, timeout=200) for job in jobs))]

    assert asyncio.run(run_all()) == ["succeeded"] * 5


def test_variants_are_trained_as_cells_of_their_own(client):
    variants = [{}, {"loss": "cross_entropy"}]
    sweep = client.wait_for_sweep(client.submit_sweep(preset="neuron-slow-quadratic", variants=variants).id)

    assert (sweep.variants, sweep.cells, sweep.varied) == (variants, 2, ["loss"])
    best, other = client.get_sweep(sweep.id).leaderboard
    assert (best.settings, other.settings) == ({"loss": "cross_entropy"}, {})


def test_a_trial_is_waited_for_and_the_finding_carries_its_verdict(client):
    job = client.wait(client.submit(preset="neuron-slow-quadratic").id)
    finding = next(finding for finding in client.diagnosis(job.id).findings if finding.cure is not None)
    sweep = client.trial(job.id)

    assert (sweep.trial.job_id, sweep.trial.finding, sweep.repeats) == (job.id, finding.code, 1)
    verdict = client.wait_for_verdict(sweep.id)
    assert (verdict.outcome, verdict.method, verdict.n) == ("cured", "exact", 1)
    assert client.verdict(sweep.id) == verdict
    found = client.diagnosis(job.id).finding(finding.code).trial
    assert (found.sweep_id, found.verdict) == (sweep.id, verdict)


def test_a_change_of_ones_own_is_tried_with_several_looks(client):
    job = client.submit(preset="neuron-good-start")
    sweep = client.trial(job.id, change={"epochs": 1}, repeats=2, looks=2)
    assert client.wait_for_verdict(sweep.id).outcome == "harmful"

    assert client.extend_trial(sweep.id, 3).total == 6
    verdict = client.wait_for_verdict(sweep.id)
    assert (verdict.n, verdict.level, client.get_sweep(sweep.id).trial.look) == (3, 0.975, 2)
    with pytest.raises(ApiError) as caught:
        client.extend_trial(sweep.id, 4)
    assert (caught.value.status, caught.value.code) == (409, "trial_not_extendable")


def test_a_sweep_that_is_no_trial_has_no_verdict_to_wait_for(client):
    sweep = client.submit_sweep(preset="neuron-good-start")

    with pytest.raises(ValueError, match="is no trial"):
        client.wait_for_verdict(sweep.id)
    assert client.verdict(sweep.id) is None


def test_a_trial_that_changes_nothing_is_refused_under_try(client):
    job = client.submit(preset="neuron-good-start")
    for change, pointer in (({}, "/try"), ({"learning_rate": -1}, "/try/learning_rate")):
        with pytest.raises(ApiError) as caught:
            client.trial(job.id, change=change)
        assert [field.pointer for field in caught.value.errors] == [pointer]
