"""`costcurve work` has the options of `python -m workers`, and hands them on."""

import os

import pytest

from costcurve.runtime.worker_options import FLEET_OPTIONS, WORKER_OPTIONS
from tests.helpers.commands import runner

ALL = (*WORKER_OPTIONS, *FLEET_OPTIONS)
VALUES = {"--name": "left", "--ray": "head:6379"}


@pytest.fixture
def started(monkeypatch):
    """The commands that have taken the place of this process."""
    commands: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, words: commands.append(list(words)))
    return commands


def test_the_help_shows_every_option_of_the_worker_program(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = runner(capsys)("work", "--help").out

    assert all(f" {option.flag} " in shown and option.help in " ".join(shown.split()) for option in ALL)


@pytest.mark.parametrize("option", ALL, ids=lambda option: option.flag)
def test_every_option_reaches_the_worker_program(capsys, started, option):
    words = [option.flag] if option.read is None else [option.flag, VALUES.get(option.flag, "2")]
    ran = runner(capsys)("work", *words)

    assert ran.code == 0, ran.err
    assert [command[-len(words) :] for command in started] == [words]
    assert started[0][-len(words) - 1] == "workers"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--pack", "0", "is not a whole number of at least 1"),
        ("--name", "Left", "must be 1 to 12 lowercase letters"),
        ("--ray", "head", "is not HOST:PORT"),
        ("--idle-seconds", "nan", "is not a number of seconds of"),
    ],
)
def test_a_value_that_the_worker_program_would_refuse_starts_nothing(capsys, started, option, value, message):
    ran = runner(capsys)("work", option, value)

    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert not started
