"""Packs of jobs: every lane is as the reference trains it, and no lane's bits depend on another.

Where there is a CUDA device they are trained on it. Elsewhere Triton's interpreter runs the kernel on the CPU: slowly,
hence few steps and few images to evaluate; the products run as they are.
"""

import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

from costcurve.core.curve import Curve
from costcurve.core.errors import Diverged
from costcurve.core.spec import MnistSpec
from tests.conftest import ROOT
from tests.engines.conftest import reference
from tests.engines.test_agreement import TIMES, distance, exact, joined
from workers.engines.base import Report
from workers.engines.packed_gpu import engine as packed_gpu
from workers.training.network import weights_sha256

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")

KERNEL = {"layers": [784, 12, 10], "batch_size": 2}
PRODUCTS = {"layers": [784, 9, 11, 10], "batch_size": 5}
by_kernel_and_by_products = pytest.mark.parametrize("shape", [KERNEL, PRODUCTS], ids=["kernel", "products"])


@pytest.fixture
def pack(few, device):
    def pack(*specs: MnistSpec, **options):
        return packed_gpu.train_pack(specs, few, device=device, **{"report_interval": 60.0, **options})

    return pack


def spec(shape=KERNEL, **fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", "epochs": 2, "steps_per_epoch": 3, **shape, **fields})


def ended(lane: Iterator[Report]) -> tuple[Curve, Curve, str]:
    """The whole curve, by epochs and by steps, and the digest of the weights."""
    reports = list(lane)
    by_epochs, by_steps = (Curve.joined(getattr(each, name) for each in reports) for name in ("curve", "steps"))
    return by_epochs, by_steps, reports[-1].result.weights_sha256


def after_one_epoch(lane: Iterator[Report]) -> tuple[torch.Tensor, Curve]:
    report = next(report for report in lane if len(report.curve))
    tensors = report.snapshot().tensors
    return joined(tensors[name] for name in sorted(tensors) if name[:6] in ("weight", "biases")), report.curve


MIXED = [
    {"loss": "quadratic"},
    {"loss": "cross_entropy", "reduction": "sum_outputs", "learning_rate": 0.3, "seed": 5},
    {"loss": "cross_entropy", "init": {"scheme": "normal", "output_bias": 10.0}},
    {"loss": "quadratic", "init": "xavier", "learning_rate": 0.5, "epochs": 4},
]


@pytest.mark.parametrize(
    ("layers", "batch_size", "steps", "tolerance"),
    [
        ([784, 30, 10], 10, 4, 1e-5),
        ([784, 16, 10], 1, 20, 1e-5),
        ([784, 32, 10], 16, 1, 1e-5),
        ([784, 40, 10], 10, 200, 1e-5),
        ([784, 20, 12, 10], 7, 50, 1e-5),
        ([784, 10], 33, 50, 1e-5),
        ([784, 1500, 10], 3, 3, 1e-5),
    ],
)
def test_every_lane_of_a_mixed_pack_agrees_with_the_reference(few, device, pack, layers, batch_size, steps, tolerance):
    specs = [spec(layers=layers, batch_size=batch_size, steps_per_epoch=steps, **fields) for fields in MIXED]

    for each, lane in zip(specs, pack(*specs), strict=True):
        (found, curve), (expected, its_curve) = (
            after_one_epoch(lane),
            after_one_epoch(reference(each, few, device=device, report_interval=60.0)),
        )
        assert distance(found, expected) < tolerance
        for metric, values in curve.series.items():
            counted = metric in ("correct", "accuracy", "validation_accuracy")
            tolerances = {"abs": 2.2 if metric == "correct" else 0.011} if counted else {"rel": 1e-3}
            assert values[0] == pytest.approx(its_curve.series[metric][0], **tolerances), metric


@pytest.mark.parametrize("batch_size", [100, 1000])
def test_products_of_large_batches_are_as_exact_as_the_reference(images, few, device, pack, batch_size):
    given = spec(layers=[784, 40, 10], batch_size=batch_size, learning_rate=0.01)
    truth = exact(given, images).to(device)
    expected, _ = after_one_epoch(reference(given, few, device=device, report_interval=60.0))

    assert distance(after_one_epoch(pack(given)[0])[0], truth) <= TIMES * distance(expected, truth)


@by_kernel_and_by_products
@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered in:RuntimeWarning")
def test_neither_company_nor_place_changes_a_bit_of_a_lane(pack, shape):
    one = spec(shape, seed=1)
    diverging = spec(shape, learning_rate=1e39)
    shorter = spec(shape, loss="quadratic", epochs=1, steps_per_epoch=2, seed=2)
    dropped = spec(shape, seed=3, epochs=100)
    (lane,) = pack(one)
    expected = ended(lane)

    first = pack(one, dropped, diverging)
    next(first[1])
    first[1].close()
    last = list(pack(dropped, diverging, shorter, one))
    next(last[0])
    forgotten = weakref.ref(last[0])
    del last[0]
    assert forgotten() is None  # nothing trains it in vain

    assert ended(first[0]) == ended(last[2]) == expected
    assert list(first[1]) == []
    assert len(ended(last[1])[0]) == 1
    for failing in (first[2], last[0]):
        with pytest.raises(Diverged, match=r"cost was no longer finite .* epoch 0"):
            list(failing)
        assert list(failing) == []


@by_kernel_and_by_products
def test_lanes_that_were_interrupted_anywhere_go_on_side_by_side_to_the_same_bits(pack, shape):
    given = spec(shape, steps_per_epoch=4)
    (lane,) = pack(given, report_interval=0.0)
    whole, snapshots = [], []
    for report in lane:
        whole.append(report)
        if report.snapshot is not None:
            snapshots.append((len(whole), report.snapshot()))
    curve = Curve.joined(report.curve for report in whole)
    assert {snapshot.step for _, snapshot in snapshots} == {1, 2, 3, 4, 5, 6, 7, 8}

    some = snapshots[::3]
    lanes = pack(*[given] * len(some), resumes=[snapshot for _, snapshot in some])

    for (before, _), lane in zip(some, lanes, strict=True):
        rest, steps, digest = ended(lane)
        assert Curve.joined([*(report.curve for report in whole[:before]), rest]) == curve
        assert steps == whole[-1].steps  # one point, of all eight steps, whenever they were trained
        assert digest == whole[-1].result.weights_sha256


@by_kernel_and_by_products
def test_a_snapshot_stays_that_of_its_moment_while_others_train_on(pack, shape):
    one, other = pack(*[spec(shape, steps_per_epoch=10, seed=seed) for seed in (0, 1)], report_interval=0.0)
    report = next(one)
    at_once = report.snapshot()
    assert [next(other).step for _ in range(4)] == [1, 2, 3, 4]

    later = report.snapshot()
    assert (later.step, later.epoch) == (at_once.step, at_once.epoch) == (1, 0)
    assert all(torch.equal(later.tensors[name], tensor) for name, tensor in at_once.tensors.items())
    # Of what waited meanwhile only the newest holds the memory of its moment.
    waiting = [next(one) for _ in range(3)]
    assert [each.step for each in waiting] == [2, 3, 4]
    assert [each.snapshot is None for each in waiting] == [True, True, False]
    assert waiting[-1].snapshot().step == 4


def test_lanes_stop_early_each_by_itself(pack):
    stalled = spec(epochs=50, steps_per_epoch=1, learning_rate=1e-12, early_stopping={"patience": 2})
    going_on = spec(epochs=5, steps_per_epoch=1)
    lanes = pack(stalled, going_on)

    assert [len(ended(lane)[0]) for lane in lanes] == [3, 5]


def test_a_pack_has_one_shape(pack):
    with pytest.raises(ValueError, match="one shape"):
        pack(spec(), spec(batch_size=3))


def test_it_is_missing_where_there_is_no_cuda_device():
    assert "CUDA" in packed_gpu.why_missing(torch.device("cpu"))


COMPILED = """
import subprocess
import warnings
from pathlib import Path
warnings.simplefilter("error")
# Triton's own use of `ast`: Python 3.12 and later warn of it.
warnings.filterwarnings("ignore", category=DeprecationWarning, module="triton")
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from workers.engines.packed_gpu.triton_kernel import MOST_BATCH, MOST_HIDDEN, OPTIONS, constants, train_networks

constants = constants((784, MOST_HIDDEN, 10), MOST_BATCH)
types = {name: "*i32" for name in ("plan", "batches", "quadratic")} | {"labels": "*i64"}
types |= {name: "*fp64" for name in ("costs", "scales")} | {name: "constexpr" for name in constants}
signature = {name: types.get(name, "*fp32") for name in train_networks.arg_names}
aligned = [name for name in train_networks.arg_names if name not in constants]
attributes = {(train_networks.arg_names.index(name),): [["tt.divisibility", 16]] for name in aligned}
source = ASTSource(train_networks, signature, constants, attributes)
compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=OPTIONS)
Path("kernel.cubin").write_bytes(compiled.asm["cubin"])
cuobjdump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
subprocess.run([cuobjdump, "--dump-resource-usage", "kernel.cubin"], check=True)
print("shared bytes:", compiled.metadata.shared)
"""


def test_the_kernel_compiles_for_an_h100_and_spills_nothing(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", COMPILED]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "train_networks" in done.stdout
    assert "STACK:0" in done.stdout
    assert int(done.stdout.rpartition("shared bytes:")[2]) < 227 * 1024


@by_kernel_and_by_products
def test_each_lane_ends_with_a_network_of_its_own_to_keep(pack, few, shape):
    specs = [spec(shape, seed=seed, epochs=1 + seed % 2) for seed in range(3)]
    lasts = [list(lane)[-1] for lane in pack(*specs)]

    for last in lasts:
        assert weights_sha256(last.final.network) == last.result.weights_sha256
        confusion = torch.tensor(last.final.confusion)
        assert (confusion.sum(), confusion.diagonal().sum()) == (len(few.test), last.result.final_correct)
        assert all(each.label == few.test.labels[each.image] != each.prediction for each in last.final.mistakes)
    assert len({last.result.weights_sha256 for last in lasts}) == 3
