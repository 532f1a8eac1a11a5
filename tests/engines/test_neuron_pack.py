"""Packs of neurons: each lane against the reference engine, and against itself in other company."""

import gc
import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from costcurve.core.curve import NEURON_METRICS, Curve
from costcurve.core.errors import Diverged
from costcurve.core.presets import PRESETS
from costcurve.core.spec import NeuronSpec
from workers.engines import neuron_pack
from workers.engines.autograd import train_neuron
from workers.engines.base import Report
from workers.engines.neuron_pack import train_pack

CPU = torch.device("cpu")

inits = st.sampled_from(["normal", "xavier", "scaled_normal", "zeros"]) | st.builds(
    lambda weight, bias: {"scheme": "constant", "weight": weight, "bias": bias},
    weight=st.floats(-6, 6),
    bias=st.floats(-6, 6),
)


def neurons(rates: st.SearchStrategy[float], inputs: st.SearchStrategy[float]) -> st.SearchStrategy[NeuronSpec]:
    return st.builds(
        lambda **fields: NeuronSpec.model_validate({"experiment": "neuron", **fields}),
        loss=st.sampled_from(["quadratic", "cross_entropy"]),
        init=inits,
        seed=st.integers(0, 2**63 - 1),
        epochs=st.integers(1, 80),
        learning_rate=rates,
        input=inputs,
        target=st.floats(0, 1),
    )


calm = neurons(st.floats(0.001, 1), st.floats(-2, 2))
# Among them are such as jump to and fro, and such as diverge.
any_neuron = calm | neurons(st.sampled_from([1e3, 1e200, 1e308]), st.sampled_from([1.0, -1e3, 1e200]))


def together(lanes: Sequence[Iterator[Report]]) -> list[tuple[list[Report], str | None]]:
    """What each lane reports, asked in turn; and what it fails of, if it does."""
    found: list[tuple[list[Report], str | None]] = [([], None) for _ in lanes]
    live = set(range(len(lanes)))
    while live:
        for place in sorted(live):
            try:
                found[place][0].append(next(lanes[place]))
            except StopIteration:
                live.remove(place)
            except Diverged as error:
                found[place] = found[place][0], str(error)
    return found


def bits(reports: Sequence[Report]) -> tuple:
    """All that a training says, to the last bit, but for how long it took."""
    curve = Curve.joined(each.curve for each in reports)
    values = {metric: [value.hex() for value in series] for metric, series in curve.series.items()}
    results = [each.result.model_copy(update={"train_seconds": 0.0}) for each in reports if each.result is not None]
    return values, results, (reports[-1].step, reports[-1].epoch)


def alone(spec: NeuronSpec) -> tuple[list[Report], str | None]:
    [found] = together(train_pack([spec], device=CPU))
    return found


@pytest.mark.parametrize("preset", ["neuron-good-start", "neuron-slow-quadratic", "neuron-slow-cross-entropy"])
def test_the_articles_curves_are_the_references(preset):
    spec = PRESETS[preset].spec
    expected = Curve.joined(each.curve for each in train_neuron(spec, device=CPU))
    curve = Curve.joined(each.curve for each in alone(spec)[0])

    assert len(curve) == 301
    for metric in NEURON_METRICS:
        assert curve.series[metric] == pytest.approx(expected.series[metric], rel=1e-12, abs=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(calm, min_size=1, max_size=6))
def test_every_lane_agrees_with_the_reference(specs):
    for spec, (reports, error) in zip(specs, together(train_pack(specs, device=CPU)), strict=True):
        expected = Curve.joined(each.curve for each in train_neuron(spec, device=CPU))
        curve = Curve.joined(each.curve for each in reports)

        assert error is None
        assert reports[-1].step == spec.epochs
        for metric in NEURON_METRICS:
            scale = max(map(abs, expected.series[metric]))
            assert curve.series[metric] == pytest.approx(expected.series[metric], rel=1e-12, abs=1e-13 * (1 + scale))


@settings(max_examples=60, deadline=None)
@given(
    spec=any_neuron,
    others=st.lists(any_neuron, max_size=5),
    copies=st.sampled_from([1, 13, 30]),
    place=st.integers(0, 150),
    interval=st.sampled_from([0.0, 0.15]),
)
def test_neither_its_place_nor_its_company_changes_a_bit_of_a_lane(spec, others, copies, place, interval):
    expected, error = alone(spec)
    pack = [*others * copies]
    place = min(place, len(pack))
    pack.insert(place, spec)
    reports, found_error = together(train_pack(pack, device=CPU, report_interval=interval))[place]

    assert bits(reports) == bits(expected)
    assert found_error == error


@settings(max_examples=40, deadline=None)
@given(spec=any_neuron, others=st.lists(any_neuron, min_size=1, max_size=4), dropped=st.integers(0, 20))
def test_lanes_that_leave_change_no_bit_of_those_that_stay(spec, others, dropped):
    expected, error = alone(spec)
    lanes = train_pack([spec, *others * 40], device=CPU, report_interval=0.0)
    stays, leave = lanes[0], list(lanes[1:])
    lanes.clear()
    reports: list[Report] = []
    found_error = None
    while True:
        try:
            reports.append(next(stays))
        except StopIteration:
            break
        except Diverged as diverged:
            found_error = str(diverged)
        if len(reports) == dropped:
            leave[0].close()
            del leave[1::2]

    assert bits(reports) == bits(expected)
    assert found_error == error


def test_a_lane_that_diverges_says_so_as_the_reference_does_and_reports_every_point_before():
    fields = {"init": "zeros", "input": 1e200, "learning_rate": 1e200}
    growing = NeuronSpec.model_validate({"experiment": "neuron", **fields})
    calm_one = PRESETS["neuron-slow-quadratic"].spec
    (before, none), (reports, error) = together(train_pack([calm_one, growing], device=CPU))
    expected: list[Report] = []
    with pytest.raises(Diverged) as caught:
        expected.extend(train_neuron(growing, device=CPU))

    assert error == str(caught.value)
    assert [(each.step, each.epoch, each.curve) for each in reports] == [
        (each.step, each.epoch, each.curve) for each in expected
    ]
    assert none is None
    assert before[-1].result is not None


def test_short_lanes_end_early_and_nobody_waits_for_what_nobody_asks_for():
    long, short = (PRESETS["neuron-slow-quadratic"].spec.model_copy(update={"epochs": n}) for n in (1_000_000, 3))
    lanes = train_pack([long, short, *[long] * 100], device=CPU, report_interval=0.01)
    ended = list(lanes[1])
    program = lanes[0]._program
    width = len(program._targets)
    del lanes[2:]
    gc.collect()
    for _ in range(6):  # four chunks may wait for it, one for each point of the short lane; the next is trained
        next(lanes[0])

    assert ended[-1].result.final_cost == ended[-1].curve.series["cost"][-1]
    assert (width, len(program._targets)) == (128, 64)


def test_more_lanes_than_one_program_takes_are_trained_in_several(monkeypatch):
    monkeypatch.setattr(neuron_pack, "_MOST_LANES", 3)
    specs = [NeuronSpec(experiment="neuron", init="normal", seed=seed, epochs=5) for seed in range(7)]
    found = together(train_pack(specs, device=CPU))

    assert [bits(reports) for reports, _ in found] == [bits(alone(spec)[0]) for spec in specs]


def test_memory_does_not_grow_with_the_epochs(monkeypatch):
    """A chunk holds so many points at most, however long the lanes are and however seldom they are to report."""
    monkeypatch.setattr(neuron_pack, "_MOST_POINTS", 64 * 100)
    spec = NeuronSpec(experiment="neuron", epochs=1000)
    reports = list(train_pack([spec], device=CPU, report_interval=math.inf)[0])

    assert max(len(each.curve) for each in reports) == 100
    assert bits(reports) == bits(alone(spec)[0])
