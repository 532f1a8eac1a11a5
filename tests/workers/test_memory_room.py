"""How many jobs a worker takes at once, after some of them needed too much memory."""

from dataclasses import replace

import pytest

from costcurve.core.job import EngineChoice
from workers import memory_room
from workers.memory_room import MemoryRoom

NEURON = {"experiment": "neuron"}
NETWORK = {"experiment": "mnist"}


@pytest.fixture
def held():
    return MemoryRoom(lambda *_: EngineChoice("packed", 1024))


def test_packs_of_one_shape_are_halved_and_those_of_others_are_not(held, submit, claim):
    submit(NEURON)
    submit(NETWORK)
    neuron, network = (replace(claim(), engine="packed") for _ in range(2))

    assert [held.exceeded(neuron, count) for count in (20, 10, 5, 2)] == [10, 5, 2, 1]
    assert held.choose(neuron.spec, "auto", "cpu").at_once == 1
    assert held.choose(network.spec, "auto", "cpu").at_once == 1024
    assert held.choose(neuron.spec, "auto", "cuda:0").at_once == 1024


def test_packs_are_tried_in_full_again_after_ten_minutes(held, submit, claim, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(memory_room, "monotonic", lambda: now)
    submit(NEURON)
    one = replace(claim(), engine="packed")
    held.exceeded(one, 20)

    now += 599
    assert held.choose(one.spec, "auto", "cpu").at_once == 10
    now += 2
    assert held.choose(one.spec, "auto", "cpu").at_once == 1024
