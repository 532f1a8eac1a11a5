"""The stream of random numbers: pure, without replacement, and the same for ever."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costcurve.analysis.initializers import initial_layers
from costcurve.analysis.randomness import Purpose, SampleOrder, generator
from costcurve.core.initializers import ConstantInit, NormalInit, ScaledNormalInit, XavierInit, ZerosInit

SIZES = (784, 30, 10)


def layers(init, seed=0, dtype=np.float64):
    return initial_layers(init, SIZES, seed=seed, dtype=dtype)


def test_the_stream_of_seed_0_never_changes():
    """A library that draws differently one day would silently change every result; this fails instead."""
    digest = hashlib.sha256()
    for layer in layers(NormalInit(), dtype=np.float32):
        digest.update(layer.weights.astype("<f4").tobytes() + layer.biases.astype("<f4").tobytes())
    order = SampleOrder(seed=0, size=55_000).between(54_990, 55_010)

    assert digest.hexdigest() == "707d203bf1da564ebe59a5d1ca825817ca23a55ae39ca78f1935206e70781fc7"
    assert order.tolist() == [
        *(22895, 47318, 3812, 45875, 20096, 50465, 28803, 35559, 2014, 7059),
        *(6070, 14871, 28467, 1273, 27368, 18694, 7488, 50739, 43498, 7905),
    ]


@settings(deadline=None)
@given(size=st.integers(1, 50), start=st.integers(0, 300), length=st.integers(0, 200), seed=st.integers(0, 2**63 - 1))
def test_any_stretch_of_the_order_is_the_same_as_that_part_of_the_whole(size, start, length, seed):
    whole = SampleOrder(seed=seed, size=size).between(0, start + length)

    assert np.array_equal(SampleOrder(seed=seed, size=size).between(start, start + length), whole[start:])


@settings(deadline=None)
@given(size=st.integers(1, 60), passes=st.integers(1, 4), seed=st.integers(0, 2**63 - 1))
def test_every_pass_takes_each_sample_once(size, passes, seed):
    order = SampleOrder(seed=seed, size=size).between(0, passes * size).reshape(passes, size)

    assert all(sorted(each) == list(range(size)) for each in order)


def test_passes_and_seeds_differ_in_their_order():
    first, second = SampleOrder(seed=0, size=1000).between(0, 2000).reshape(2, 1000)

    assert not np.array_equal(first, second)
    assert not np.array_equal(first, SampleOrder(seed=1, size=1000).between(0, 1000))


def test_streams_of_different_purposes_and_indices_share_nothing():
    draws = [
        tuple(generator(seed, purpose, index).integers(0, 2**63, 4))
        for seed in (0, 1, 2**63 - 1)
        for purpose in Purpose
        for index in (0, 1, 2)
    ]

    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize(("std", "expected"), [(1.0, (1.0, 1.0)), (0.5, (0.5, 0.5)), ((10.0, 1.0), (10.0, 1.0))])
def test_normal_weights_and_biases_have_the_standard_deviation_of_their_layer(std, expected):
    drawn = layers(NormalInit(std=std))

    for layer, deviation in zip(drawn, expected, strict=True):
        assert layer.weights.std() == pytest.approx(deviation, rel=0.1)
        assert layer.weights.mean() == pytest.approx(0, abs=0.2 * deviation)
        assert 0.4 * deviation < layer.biases.std() < 1.8 * deviation


def test_scaled_normal_weights_shrink_with_the_inputs_and_biases_do_not():
    first, second = layers(ScaledNormalInit())

    assert first.weights.std() == pytest.approx(784**-0.5, rel=0.05)
    assert second.weights.std() == pytest.approx(30**-0.5, rel=0.15)
    assert 0.6 < first.biases.std() < 1.5


def test_xavier_weights_fill_glorots_interval_and_biases_are_0():
    first, _ = layers(XavierInit())
    bound = (6 / (784 + 30)) ** 0.5

    assert np.abs(first.weights).max() == pytest.approx(bound, rel=0.01)
    assert np.abs(first.weights).max() <= bound
    assert first.weights.std() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not first.biases.any()


def test_constant_and_zero_inits_are_what_they_say():
    assert all(
        (layer.weights == 0.25).all() and (layer.biases == -1).all()
        for layer in layers(ConstantInit(weight=0.25, bias=-1.0))
    )
    assert not any(layer.weights.any() or layer.biases.any() for layer in layers(ZerosInit()))


@pytest.mark.parametrize("init", [NormalInit, ScaledNormalInit, XavierInit, ConstantInit, ZerosInit])
def test_the_output_bias_is_added_to_the_last_layer_only(init):
    plain, shifted = layers(init()), layers(init(output_bias=10.0))

    assert np.array_equal(plain[0].biases, shifted[0].biases)
    assert np.array_equal(plain[0].weights, shifted[0].weights)
    assert np.array_equal(plain[1].weights, shifted[1].weights)
    assert np.allclose(shifted[1].biases - plain[1].biases, 10)
