"""The compiled code by itself: what it refuses, and that it reads any image and any network rightly."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engines import fused_cpu

if fused_cpu.why_missing() is not None:
    pytest.skip(str(fused_cpu.why_missing()), allow_module_level=True)

import costcurve_kernel

instruction_sets = pytest.mark.parametrize("isa", fused_cpu.instruction_sets())


def pictures(count: int, width: int, *, ink: float, seed: int) -> torch.Tensor:
    """Bytes, `ink` of which are not 0, divided by 255."""
    random = np.random.default_rng(seed)
    dark = random.integers(1, 256, (count, width)) * (random.random((count, width)) < ink)
    return torch.from_numpy(dark.astype(np.uint8)).to(torch.float32).div_(255)


def parameters(sizes: list[int], seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    random = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(n_in, n_out, generator=random), torch.randn(n_out, generator=random))
        for n_in, n_out in pairwise(sizes)
    ]


def network(sizes: list[int], isa: str = "baseline", loss: str = "quadratic"):
    return costcurve_kernel.TrainedNetwork(sizes, loss, False, isa)


@instruction_sets
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    sizes=st.builds(
        lambda width, hidden, outputs: [width, *hidden, outputs],
        st.integers(1, 300),
        st.lists(st.integers(1, 70), max_size=2),
        st.integers(1, 16),
    ),
    count=st.integers(1, 40),
    ink=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_the_cost_of_any_images_is_what_exact_numbers_give(isa, sizes, count, ink, seed):
    pixels, layers = pictures(count, sizes[0], ink=ink, seed=seed), parameters(sizes, seed)
    labels = torch.arange(count) % sizes[-1]
    trained = network(sizes, isa)
    trained.load(layers)
    logits = torch.empty(count, sizes[-1])
    correct, cost = trained.evaluate(costcurve_kernel.SparseImages(pixels, labels), 0, count, logits)

    outputs = pixels.double()
    for weights, biases in layers:
        outputs = torch.sigmoid(outputs @ weights.double() + biases.double())
    targets = torch.nn.functional.one_hot(labels, sizes[-1]).double()
    assert cost == pytest.approx(0.5 * ((outputs - targets) ** 2).sum().item(), rel=1e-4, abs=1e-4)
    assert correct == (logits.argmax(dim=1) == labels).sum()
    torch.testing.assert_close(logits.sigmoid().double(), outputs, rtol=1e-4, atol=1e-5)


@instruction_sets
@settings(max_examples=20, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=4), outputs=st.integers(1, 16))
def test_parameters_come_back_bit_for_bit(isa, sizes, outputs):
    given_layers = parameters([*sizes, outputs])
    found = [tuple(torch.zeros_like(part) for part in layer) for layer in given_layers]
    trained = network([*sizes, outputs], isa)
    trained.load(given_layers)
    trained.save(found)
    for layer, expected in zip(found, given_layers, strict=True):
        assert all(torch.equal(part, other) for part, other in zip(layer, expected, strict=True))


@pytest.mark.parametrize(
    ("pixels", "labels", "why"),
    [
        ([[0.3]], [0], "bytes divided by 255"),
        ([[-1 / 255]], [0], "bytes divided by 255"),
        ([[256 / 255]], [0], "bytes divided by 255"),
        ([[float("nan")]], [0], "bytes divided by 255"),
        ([[0.0]], [16], "labels must be in 0"),
        ([[0.0]], [-1], "labels must be in 0"),
        ([[0.0]], [0, 1], "as many labels as images"),
        ([[]], [0], "pixels an image"),
        ([[0.0] * 8192], [0], "pixels an image"),
    ],
)
def test_images_that_are_none_are_refused(pixels, labels, why):
    with pytest.raises(ValueError, match=why):
        costcurve_kernel.SparseImages(torch.tensor(pixels, dtype=torch.float32), torch.tensor(labels))


@pytest.mark.parametrize(
    ("sizes", "loss", "isa", "why"),
    [
        ([784], "quadratic", "baseline", "from 1 to 16 layers"),
        ([784] * 18, "quadratic", "baseline", "from 1 to 16 layers"),
        ([784, 0, 10], "quadratic", "baseline", "needs a unit"),
        ([784, 17], "quadratic", "baseline", "at most 16 outputs"),
        ([784, 10], "hinge", "baseline", "unknown loss hinge"),
        ([784, 10], "quadratic", "mmx", "has no mmx"),
    ],
)
def test_networks_that_it_cannot_train_are_refused(sizes, loss, isa, why):
    with pytest.raises(ValueError, match=why):
        network(sizes, isa, loss)


def test_what_does_not_fit_is_refused_and_nothing_is_changed():
    images = costcurve_kernel.SparseImages(pictures(3, 20, ink=0.5, seed=0), torch.tensor([0, 1, 2]))
    trained = network([20, 5, 3])
    trained.load(parameters([20, 5, 3]))
    logits = torch.zeros(3, 3)
    before = trained.evaluate(images, 0, 3, logits)
    for layers in (parameters([20, 5]), parameters([20, 6, 3]), parameters([21, 5, 3])):
        with pytest.raises(ValueError, match=r"number of layers|sizes"):
            trained.load(layers)
    for batch in ([[0, 3]], [[-1, 0]]):
        with pytest.raises(IndexError):
            trained.train(images, torch.tensor(batch), 1.0, torch.zeros(1, dtype=torch.float64))
    with pytest.raises(ValueError, match="as many costs as steps"):
        trained.train(images, torch.tensor([[0, 1]]), 1.0, torch.zeros(2, dtype=torch.float64))
    with pytest.raises(IndexError):
        trained.evaluate(images, 0, 4, torch.zeros(4, 3))
    with pytest.raises(ValueError, match="another width"):
        trained.evaluate(costcurve_kernel.SparseImages(torch.zeros(1, 19), torch.tensor([0])), 0, 1, torch.zeros(1, 3))
    for shape in ((2, 3), (3, 2)):
        with pytest.raises(ValueError, match="a logit for each output of each image"):
            trained.evaluate(images, 0, 3, torch.zeros(shape))
    again = torch.zeros(3, 3)
    assert trained.evaluate(images, 0, 3, again) == before
    assert torch.equal(again, logits)


@instruction_sets
@pytest.mark.parametrize("width", [1, 7, 16, 30, 45, 100])
def test_the_first_layer_alone_is_a_product_with_the_images_and_its_gradient_one_with_their_transpose(isa, width):
    pixels, labels = pictures(75, 90, ink=0.3, seed=width), torch.zeros(75, dtype=torch.int64)
    images, sizes = costcurve_kernel.SparseImages(pixels, labels), [90, width, 3]
    layers = parameters(sizes)
    alone = costcurve_kernel.TrainedNetwork(sizes, "quadratic", False, isa)
    alone.load(layers)
    deltas = torch.randn(60, width, generator=torch.Generator().manual_seed(1))
    z, gradient = torch.full((60, width), math.nan), torch.full((90, width), math.nan)

    alone.first_layer(images, 5, 65, z)
    alone.first_gradient(images, 5, 65, deltas, gradient)

    weights, biases = layers[0]
    expected = pixels[5:65].double() @ weights.double() + biases
    assert torch.allclose(z.double(), expected, rtol=1e-5, atol=1e-5)
    expected = pixels[5:65].double().T @ deltas.double()
    assert torch.allclose(gradient.double(), expected, rtol=1e-5, atol=1e-5)
    kept = parameters(sizes, seed=1)
    alone.save(kept)
    assert torch.equal(kept[0][0], weights)


def test_the_first_layer_alone_refuses_what_does_not_fit():
    images = costcurve_kernel.SparseImages(pictures(3, 20, ink=0.5, seed=0), torch.tensor([0, 1, 2]))
    trained = network([20, 5, 3])
    trained.load(parameters([20, 5, 3]))

    for first, last in ((0, 4), (-1, 2), (2, 1)):
        with pytest.raises(IndexError):
            trained.first_layer(images, first, last, torch.zeros(max(last - first, 0), 5))
    for z in (torch.zeros(2, 5), torch.zeros(3, 4)):
        with pytest.raises(ValueError, match="a row of the first layer's width"):
            trained.first_layer(images, 0, 3, z)
    with pytest.raises(ValueError, match="shape of the first layer's weights"):
        trained.first_gradient(images, 0, 3, torch.zeros(3, 5), torch.zeros(20, 6))
