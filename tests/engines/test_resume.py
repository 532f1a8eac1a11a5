"""Going on from a snapshot: wherever a training was interrupted, it ends with the bits of one left alone."""

import dataclasses
import re
import resource
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

from costcurve.core.curve import STEPS_A_POINT, Curve
from costcurve.core.job import Claim
from costcurve.core.spec import MnistSpec, NeuronSpec, spec_hash
from tests.engines.conftest import compiled, reference
from workers.checkpoints import Checkpoints, UnusableCheckpoint
from workers.engines.autograd import train_neuron
from workers.engines.base import UnusableSnapshot
from workers.engines.neuron_pack import train_pack
from workers.engines.registry import exec_profile

CPU = torch.device("cpu")
NETWORK = MnistSpec.model_validate(
    {
        "experiment": "mnist",
        "epochs": 3,
        "steps_per_epoch": 130,
        "early_stopping": {"patience": 2},
        "schedule": [{"from_epoch": 1, "loss": "quadratic"}, {"from_epoch": 2, "learning_rate": 0.5}],
    }
)
NEURON = NeuronSpec.model_validate(
    {"experiment": "neuron", "epochs": 40, "schedule": [{"from_epoch": 17, "loss": "quadratic", "learning_rate": 0.5}]}
)


def claim_of(spec, **fields) -> Claim:
    return Claim(
        **{
            "job_id": "job_1",
            "job_pk": 1,
            "attempt_pk": 7,
            "attempt": 1,
            "worker_id": "wrk_1",
            "spec": spec,
            "spec_hash": spec_hash(spec),
            "engine": "autograd",
            "device": "cpu",
            "max_runtime_seconds": None,
            "checkpoint": None,
            "profile": exec_profile("autograd", "cpu"),
            **fields,
        }
    )


def neuron(spec, images, **options):
    return train_neuron(spec, device=CPU, **options)


def packed_neuron(spec, images, *, resume=None, **options):
    """In the midst of others, which are elsewhere."""
    others = [NEURON.model_copy(update={"epochs": epochs}) for epochs in (5, 100)]
    specs, resumes = [others[0], spec, others[1]], [None, resume, None]
    _, reports, _ = lanes = train_pack(specs, device=CPU, resumes=resumes, **options)
    for report in reports:
        yield report
        for lane in lanes[::2]:
            next(lane, None)


def outcome(result) -> dict:
    return {**result.model_dump(), "train_seconds": None}


@pytest.mark.parametrize(
    "train",
    [
        pytest.param(neuron, id="neuron"),
        pytest.param(packed_neuron, id="packed-neuron"),
        pytest.param(reference, id="network"),
        *compiled(),
    ],
)
def test_a_training_interrupted_anywhere_goes_on_to_the_same_bits(images, tmp_path, train):
    spec = NEURON if train in (neuron, packed_neuron) else NETWORK
    train = partial(train, report_interval=0.0)
    checkpoints, claim = Checkpoints(tmp_path), claim_of(spec)
    whole, names = [], []
    for report in train(spec, images):
        whole.append(report)
        if report.snapshot is not None:
            names.append((len(whole), checkpoints.save(claim, report.snapshot())))
    # In the first epoch and later ones, between two looked up batches, in evaluations, at the ends of epochs.
    for count, name in names[:: 1 if spec is NEURON else 23]:
        snapshot = checkpoints.load(dataclasses.replace(claim, checkpoint=name))
        before = Curve.joined(each.curve for each in whole[:count])
        rest = list(train(spec, images, resume=snapshot))

        assert len(before) == snapshot.epoch
        assert (snapshot.step, snapshot.epoch) == (whole[count - 1].step, whole[count - 1].epoch)
        joined = Curve.joined([before, *(each.curve for each in rest)])
        assert joined == Curve.joined(each.curve for each in whole)
        # As a store does: what is behind the checkpoint is cut off, and comes again.
        kept = Curve.joined(each.steps for each in whole[:count]).between(0, snapshot.step // STEPS_A_POINT - 1)
        steps = Curve.joined([kept, *(each.steps for each in rest)])
        assert steps == Curve.joined(each.steps for each in whole)
        assert outcome(rest[-1].result) == outcome(whole[-1].result)
        assert rest[-1].result.train_seconds > snapshot.seconds
        assert rest[0].step >= snapshot.step


def saved(checkpoints: Checkpoints, claim: Claim, images) -> Claim:
    """A claim that is to go on from a checkpoint."""
    report = next(reference(claim.spec, images, report_interval=0.0))
    return dataclasses.replace(claim, checkpoint=checkpoints.save(claim, report.snapshot()))


def test_a_checkpoint_is_a_file_of_its_own_and_nothing_half_written_stays_beside_it(images, tmp_path):
    claim = saved(Checkpoints(tmp_path), claim_of(NETWORK), images)

    assert re.fullmatch(r"job_1/7-0-1-[0-9a-f]{16}\.safetensors", claim.checkpoint)
    assert [path.name for path in (tmp_path / "job_1").iterdir()] == [claim.checkpoint.partition("/")[2]]


@contextmanager
def files_of_at_most(size: int):
    """As on a full disk: what is written beyond that raises an OSError, after a part of it was written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_could_not_be_written_leaves_no_part_of_it(images, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with files_of_at_most(50_000), pytest.raises(OSError, match="too large"):
        saved(checkpoints, claim_of(NETWORK), images)

    assert list(tmp_path.rglob("*.*")) == []
    assert checkpoints.load(saved(checkpoints, claim_of(NETWORK), images)).step == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"profile": exec_profile("neuron_pack", "cpu")}, "profile"),
        ({"spec_hash": "sha256:0"}, "spec_hash"),
        ({"checkpoint": "job_1/7-0-2.safetensors"}, "cannot be read"),
    ],
)
def test_a_checkpoint_from_which_other_bits_would_follow_is_not_used(images, tmp_path, changes, why):
    claim = saved(Checkpoints(tmp_path), claim_of(NETWORK), images)

    with pytest.raises(UnusableCheckpoint, match=why):
        Checkpoints(tmp_path).load(dataclasses.replace(claim, **changes))


@pytest.mark.parametrize("length", [0, 7, 1000])
@pytest.mark.parametrize("checksum", [True, False])
def test_a_damaged_checkpoint_is_not_used(images, tmp_path, length, checksum):
    claim = saved(Checkpoints(tmp_path), claim_of(NETWORK), images)
    if not checksum:
        claim = as_before_checksums(tmp_path, claim)
    path = tmp_path / claim.checkpoint
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(UnusableCheckpoint, match="damaged" if checksum else "cannot be read"):
        Checkpoints(tmp_path).load(claim)


def test_a_flipped_bit_is_noticed_wherever_it_is(images, tmp_path):
    claim = saved(Checkpoints(tmp_path), claim_of(NETWORK), images)
    path = tmp_path / claim.checkpoint
    content = path.read_bytes()
    for place in (*range(0, len(content), 9973), len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(UnusableCheckpoint, match="damaged"):
            Checkpoints(tmp_path).load(claim)
    path.write_bytes(content)

    assert Checkpoints(tmp_path).load(claim).step == 1


def as_before_checksums(folder: Path, claim: Claim) -> Claim:
    """The same checkpoint, named as the version before this one did."""
    name = re.sub("-[0-9a-f]{16}", "", claim.checkpoint)
    (folder / claim.checkpoint).rename(folder / name)
    return dataclasses.replace(claim, checkpoint=name)


def test_a_checkpoint_of_the_version_without_checksums_is_used(images, tmp_path):
    claim = as_before_checksums(tmp_path, saved(Checkpoints(tmp_path), claim_of(NETWORK), images))

    assert claim.checkpoint == "job_1/7-0-1.safetensors"
    assert Checkpoints(tmp_path).load(claim).step == 1


def without(snapshot, name):
    return dataclasses.replace(snapshot, tensors={key: each for key, each in snapshot.tensors.items() if key != name})


def reshaped(snapshot, name):
    return dataclasses.replace(snapshot, tensors={**snapshot.tensors, name: snapshot.tensors[name].new_zeros(1, 1, 1)})


@pytest.mark.parametrize("spoil", [without, reshaped])
@pytest.mark.parametrize("name", ["weights.1", "biases.2", "points", "cost_sum", "open_costs"])
def test_a_network_does_not_go_on_from_tensors_that_are_not_its_own(images, spoil, name):
    report = next(reference(NETWORK, images, report_interval=0.0))

    with pytest.raises(UnusableSnapshot, match=name):
        next(reference(NETWORK, images, resume=spoil(report.snapshot(), name)))


@pytest.mark.parametrize("spoil", [without, reshaped])
def test_tensors_that_are_not_its_own_fail_one_lane_of_a_pack_and_no_other(spoil):
    def first(lane):
        return next(lane).snapshot()

    specs = [NEURON.model_copy(update={"epochs": 5000, "seed": seed}) for seed in range(3)]
    snapshots = [first(lane) for lane in train_pack(specs, device=CPU, report_interval=0.0)]
    snapshots[1] = spoil(snapshots[1], "weight")
    before, spoilt, behind = train_pack(specs, device=CPU, resumes=snapshots)

    assert [list(lane)[-1].step for lane in (before, behind)] == [5000, 5000]
    with pytest.raises(UnusableSnapshot, match="weight"):
        next(spoilt)
