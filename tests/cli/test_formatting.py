"""The command line's parts that need no service."""

import io
import json
import os
import signal

import pytest
import typer

from costcurve import ApiError, CostCurveError, Job, ServiceUnreachable, Sweep
from costcurve.cli.commands.sweeps import grid_of
from costcurve.cli.exit_codes import exit_code_of
from costcurve.cli.formatting import duration, grid_text, init_text, outcome, standing
from costcurve.cli.interrupt import Interruption
from costcurve.cli.job_options import JobOptions, SourceOptions, overrides, submission
from costcurve.cli.progress import Lines
from costcurve.cli.sparkline import ASCII, sparkline
from tests.helpers.commands import piped


def a_job(**fields: object) -> Job:
    return Job.model_validate(
        {
            "id": "job_1",
            "status": "running",
            "is_terminal": False,
            "spec": {"experiment": "mnist"},
            "progress": {"epoch": 1, "epochs": 30, "step": 10, "steps": 300, "fraction": 0.1, "eta_seconds": 61.2},
            "created_at": "2026-01-01T00:00:00Z",
            "version": 1,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, "▁▂▃▄▅▆▇█"),
        ([8, 8, 1, 1], 2, "█▁"),
        ([5, 5, 5], 10, "▅▅▅"),
        ([3], 10, "▅"),
        ([], 10, ""),
    ],
)
def test_a_sparkline_shows_each_share_of_the_values_by_its_mean(values, width, line):
    assert sparkline(values, width) == line


def test_a_sparkline_of_a_share_that_stands_still_stands_still():
    assert sparkline([0.089, 0.097, 0.105], 3, low=0.0, high=1.0) == "▁▁▁"
    assert sparkline([0.0, 0.5, 1.0], 3, low=0.0, high=1.0) == "▁▅█"
    assert sparkline([0.45, 0.449, 0.448], 3, low=0.0) == "███"
    assert sparkline([0.0, 0.0], 2, low=0.0, high=1.0) == "▁▁"


def test_a_logarithmic_sparkline_goes_by_ratios_and_puts_zero_at_the_bottom():
    assert sparkline([1000, 100, 10, 1], 4, log=True, levels=ASCII) == "#+:_"
    assert sparkline([100, 10, 0], 3, log=True) == "█▁▁"
    assert sparkline([0, 0], 2, log=True) == "▁▁"


def test_options_make_the_body_of_a_submission():
    options = JobOptions(
        init='{"scheme": "normal", "std": [10, 1]}',
        layers="784, 30,10",
        patience=3,
        tag=["a=b=c", "empty="],
        max_runtime=5.0,
    )
    assert submission(SourceOptions(experiment="mnist"), options) == {
        "spec": {
            "experiment": "mnist",
            "init": {"scheme": "normal", "std": [10, 1]},
            "layers": [784, 30, 10],
            "early_stopping": {"metric": "validation_accuracy", "patience": 3},
        },
        "tags": {"a": "b=c", "empty": ""},
        "max_runtime_seconds": 5.0,
    }


def test_a_file_may_hold_a_bare_spec(tmp_path):
    file = tmp_path / "spec.json"
    file.write_text('{"experiment": "neuron", "epochs": 3}')
    assert submission(SourceOptions(spec=str(file)), JobOptions()) == {"spec": {"experiment": "neuron", "epochs": 3}}


def test_options_override_the_file_field_by_field(tmp_path):
    file = tmp_path / "body.json"
    file.write_text('{"spec": {"experiment": "neuron", "epochs": 3, "seed": 4}, "tags": {"a": "1"}, "priority": 9}')
    assert submission(SourceOptions(spec=str(file)), JobOptions(epochs=5, tag=["b=2"], priority=8)) == {
        "spec": {"experiment": "neuron", "epochs": 5, "seed": 4},
        "tags": {"a": "1", "b": "2"},
        "priority": 8,
    }


def test_a_dash_reads_the_file_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", piped('{"preset": "neuron-good-start"}'))
    assert submission(SourceOptions(spec="-"), JobOptions()) == {"preset": "neuron-good-start"}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ({}, {}, "nothing to train is given"),
        ({}, {"epochs": 3}, "nothing to train is given"),
        ({"experiment": "neuron"}, {"init": "{scheme"}, "not JSON"),
        ({"experiment": "neuron"}, {"init": '{"weight": NaN}'}, "NaN is not a finite number"),
        ({"experiment": "neuron"}, {"init": '{"weight": 1e999}'}, "1e999 is not a finite number"),
        ({"experiment": "mnist"}, {"layers": "784;10"}, "whole numbers"),
        ({"experiment": "mnist"}, {"tag": ["novalue"]}, "KEY=VALUE"),
        ({"experiment": "neuron"}, {"learning_rate": float("nan")}, "finite"),
        ({"spec": "/nowhere/at/all"}, {}, "cannot read"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(source, options, message):
    with pytest.raises(typer.BadParameter, match=message):
        submission(SourceOptions(**source), JobOptions(**options))


def test_options_are_what_a_clone_has_otherwise():
    assert overrides(JobOptions()) == {}
    assert overrides(JobOptions(epochs=5, name="again", tag=["a=b"])) == {
        "spec": {"epochs": 5},
        "name": "again",
        "tags": {"a": "b"},
    }


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '"x"', '{"spec": []}', '{"preset": "x", "tags": 3}', "[" * 100_000, "\ufeff"]
)
def test_a_file_that_is_no_submission_is_a_usage_error(tmp_path, text):
    file = tmp_path / "spec.json"
    file.write_text(text)
    with pytest.raises(typer.BadParameter):
        submission(SourceOptions(spec=str(file)), JobOptions())


def test_a_file_that_is_no_text_is_a_usage_error(tmp_path):
    file = tmp_path / "spec.json"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(typer.BadParameter, match="not JSON"):
        submission(SourceOptions(spec=str(file)), JobOptions())


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ApiError(code="invalid_request", status=422, title="t", detail="d"), 2),
        (ApiError(code="job_not_found", status=404, title="t", detail="d"), 3),
        (ApiError(code="invalid_transition", status=409, title="t", detail="d"), 1),
        (ApiError(code="internal_error", status=500, title="t", detail="d"), 1),
        (ServiceUnreachable("http://x", "r"), 4),
        (CostCurveError("x"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error, code):
    assert exit_code_of(error) == code


def test_lines_are_written_when_the_status_changes_and_otherwise_every_few_seconds():
    now, stream = 0.0, io.StringIO()
    lines = Lines(stream, clock=lambda: now)
    lines.show("a", a_job(status="queued"), {})
    now = 60
    lines.show("a", a_job(status="queued"), {})  # says nothing new
    lines.show("a", a_job(), {"cost": 0.5})
    now = 61
    lines.show("a", a_job(), {"cost": 0.4})  # too soon
    now = 64
    lines.show("a", a_job(), {"cost": 0.3, "accuracy": 0.95})
    assert stream.getvalue().splitlines() == [
        "a  queued",
        "a  epoch 1/30  cost 0.5  1:02 left",
        "a  epoch 1/30  cost 0.3  accuracy 95.00 %  1:02 left",
    ]


def test_a_job_that_is_put_aside_says_so_and_is_still_followed():
    stream = io.StringIO()
    lines = Lines(stream, clock=lambda: 0.0)
    for status, reason in (("running", None), ("paused", "paused on request"), ("queued", "resumed by its client")):
        lines.show("a", a_job(status=status, status_reason=reason), {})
    assert stream.getvalue().splitlines() == [
        "a  epoch 1/30  1:02 left",
        "a  paused: paused on request",
        "a  queued: resumed by its client",
    ]


def a_sweep(**counts: int) -> Sweep:
    total = sum(counts.values())
    every = dict.fromkeys(("queued", "running", "paused", "succeeded", "failed", "cancelled"), 0) | counts
    return Sweep.model_validate(
        {
            "id": "swp_1",
            "grid": {"loss": ["quadratic", "cross_entropy"], "learning_rate": [0.1, 0.2, 0.3]},
            "repeats": 2,
            "cells": 6,
            "total": total,
            "counts": every,
            "is_terminal": not (every["queued"] or every["running"] or every["paused"]),
            "created_at": "2026-01-01T00:00:00Z",
        }
    )


def test_a_sweep_is_told_by_how_many_of_its_jobs_have_ended():
    assert standing(a_sweep(queued=1200, running=2, failed=1)) == (
        "1 of 1,203 ended: 1,200 queued, 2 running, 1 failed"
    )
    assert grid_text(a_sweep(queued=12)) == "2 loss × 3 learning_rate × 2 repeats"


def test_lines_of_a_sweep_come_every_few_seconds_and_at_its_end():
    now, stream = 0.0, io.StringIO()
    lines = Lines(stream, clock=lambda: now)
    for moment, counts in (
        (0, {"queued": 3}),
        (1, {"queued": 2, "succeeded": 1}),  # too soon
        (9, {"queued": 2, "succeeded": 1}),
        (60, {"queued": 2, "succeeded": 1}),  # says nothing new
        (61, {"succeeded": 3}),
        (61.5, {"succeeded": 3}),
    ):
        now = moment
        lines.show_sweep("a", a_sweep(**counts))
    assert stream.getvalue().splitlines() == [
        "a  0 of 3 ended: 3 queued",
        "a  1 of 3 ended: 2 queued, 1 succeeded",
        "a  3 of 3 ended: 3 succeeded",
    ]


@pytest.mark.parametrize(
    ("given", "grid"),
    [
        (["loss=quadratic,cross_entropy"], {"loss": ["quadratic", "cross_entropy"]}),
        (["learning-rate=0.1, 3,1e-3", "epochs=5"], {"learning_rate": [0.1, 3, 0.001], "epochs": [5]}),
        (["seed=9223372036854775807"], {"seed": [2**63 - 1]}),
        (["layers=[[784,10],[784,30,10]]"], {"layers": [[784, 10], [784, 30, 10]]}),
        (['init=["normal", {"scheme": "zeros"}]'], {"init": ["normal", {"scheme": "zeros"}]}),
        (["learning_rate=nan,1e999,-"], {"learning_rate": ["nan", "1e999", "-"]}),  # the service refuses them
        ([], {}),
    ],
)
def test_a_grid_is_given_by_field(given, grid):
    assert grid_of(given) == grid


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["loss"], "FIELD=A,B"),
        (["=1,2"], "FIELD=A,B"),
        (["epochs=1", "epochs=2"], "epochs is given twice"),
        (["layers=[[784,10]"], "not JSON"),
        (["learning_rate=[1e999]"], "1e999 is not a finite number"),
    ],
)
def test_a_grid_that_cannot_be_meant_is_a_usage_error(given, message):
    with pytest.raises(typer.BadParameter, match=message):
        grid_of(given)


def test_how_a_job_ended_is_said_in_one_line():
    assert outcome(a_job(status="failed", error={"code": "diverged", "message": "at epoch 3"})) == (
        "failed (diverged): at epoch 3"
    )
    assert outcome(a_job(status="cancelled", status_reason="cancelled on request")) == "cancelled: cancelled on request"
    result = {"final_correct": 9500, "test_size": 10000, "best_correct": 9506, "best_epoch": 28, "train_seconds": 75.0}
    assert outcome(a_job(status="succeeded", result=json.loads(json.dumps(result)))) == (
        "succeeded: 9500 / 10000 right at the end, best 9506 / 10000 after epoch 28, in 1:15"
    )


@pytest.mark.parametrize(("seconds", "text"), [(0.026, "0.026 s"), (9.96, "10 s"), (59.7, "1:00"), (3725, "1:02:05")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_an_init_is_said_by_its_scheme_and_what_is_not_zero():
    assert init_text({"scheme": "normal", "std": [10.0, 1.0], "output_bias": 0.0}) == "normal (std 10, 1)"
    assert init_text({"scheme": "normal", "std": [10, 1]}) == "normal (std 10, 1)"
    assert init_text({"scheme": "zeros", "output_bias": 0.0}) == "zeros"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_told_to_end_is_noticed_at_the_next_pause(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption.happened
        os.kill(os.getpid(), number)
        interruption.pause(3600)
        assert interruption.happened
    assert signal.getsignal(number) == before


def test_what_was_started_with_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            interruption.pause(0)
            assert not interruption.happened
    finally:
        signal.signal(signal.SIGHUP, before)
