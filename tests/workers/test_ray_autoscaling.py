"""How many workers a fleet wants, and whom it lets go: without a cluster."""

import pytest

from costcurve.core.job import Load
from tests.helpers.reports import RESULT
from tests.helpers.writing import finish
from workers.__main__ import main
from workers.ray.actor import shared_settings
from workers.ray.autoscaling import Idleness, wanted


@pytest.mark.parametrize(
    ("waiting", "busy", "least", "most", "expected"),
    [
        (0, 0, 1, 4, 1),
        (0, 0, 0, 4, 0),
        (2, 1, 0, 4, 3),
        (100, 4, 1, 4, 4),
        (0, 3, 1, 4, 3),
        (5, 0, 3, 2, 2),
    ],
)
def test_there_is_a_worker_for_each_job_that_waits_or_is_trained_within_the_limits(
    waiting, busy, least, most, expected
):
    assert wanted(Load(waiting, frozenset()), busy, least=least, most=most) == expected


def test_only_who_has_long_had_nothing_in_hand_is_let_go_the_longest_idle_first():
    idleness = Idleness(10)
    idleness.look(["a", "b", "c"], {"b"}, now=0)
    idleness.look(["a", "b", "c"], {"a"}, now=5)
    assert idleness.spare(9) == []
    assert idleness.spare(10) == ["c"]

    idleness.look(["a", "b", "c"], set(), now=11)  # a begins anew, b has gone on since 5
    assert idleness.spare(20) == ["c", "b"]
    idleness.look(["a", "b"], set(), now=21)
    assert idleness.spare(21) == ["b", "a"]


def test_the_store_says_what_waits_for_these_devices_and_who_has_something_in_hand(store, submit, claim, worker):
    for _ in range(4):
        submit()
    submit(device="cuda")
    assert store.load(devices=["auto", "cpu"], limit=10) == Load(4, frozenset())
    assert store.load(devices=["auto", "cpu", "cuda"], limit=10).waiting == 5
    assert store.load(devices=["auto", "cpu", "cuda"], limit=3).waiting == 3

    held = claim()
    assert store.load(devices=["auto", "cpu"], limit=10) == Load(3, frozenset({worker}))
    finish(store, held, RESULT)
    assert store.load(devices=["auto", "cpu"], limit=10) == Load(3, frozenset())


def test_the_settings_that_travel_are_costcurves_own():
    environment = {
        "COSTCURVE_HOME": "/srv",
        "COSTCURVE_METRICS_PORT": "9100",
        "COSTCURVE_DATABASE_PASSWORD_FILE": "/run/secrets/password",
        "PATH": "/bin",
        "RAY_AUTH_TOKEN": "secret",
    }

    assert shared_settings(environment, "postgresql://db/jobs") == {
        "COSTCURVE_HOME": "/srv",
        "COSTCURVE_DATABASE_URL": "postgresql://db/jobs",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ray", "head"], "is not HOST:PORT"),
        (["--ray", "head:0"], "is not HOST:PORT"),
        (["--max-workers", "3"], "--max-workers: needs --ray"),
        (["--ray", "head:6379", "--processes", "2"], "--processes is for workers on this machine"),
        (["--ray", "head:6379", "--min-workers", "3", "--max-workers", "2"], "is more than --max-workers 2"),
        (["--ray", "head:6379", "--idle-seconds", "nan"], "'nan' is not a number of seconds"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["workers", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert message in capsys.readouterr().err
