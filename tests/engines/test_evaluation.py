"""The network that is kept when a training ends, and what is said of how it reads the test images."""

import math
from itertools import pairwise

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load

from costcurve.core.job import ExecProfile
from costcurve.core.model_file import in_order
from costcurve.core.spec import MnistSpec, spec_hash
from tests.engines.test_resume import claim_of
from workers.checkpoints import model_of
from workers.training.evaluation import MISTAKES, final_network
from workers.training.network import Evaluation, Images, evaluate_in_parts, initial_network, logits, weights_sha256

CPU = torch.device("cpu")


def spec(**fields) -> MnistSpec:
    return MnistSpec.model_validate({"experiment": "mnist", "epochs": 2, "steps_per_epoch": 500, **fields})


@pytest.mark.parametrize("fields", [{}, {"loss": "quadratic", "layers": [784, 20, 15, 10]}, {"layers": [784, 10]}])
def test_what_is_kept_is_the_network_that_the_result_tells_of(train, images, fields):
    given = spec(**fields)
    *earlier, last = train(given, images, report_interval=0.0)

    assert all(report.final is None for report in earlier)
    assert weights_sha256(last.final.network) == last.result.weights_sha256
    confusion = torch.tensor(last.final.confusion)
    assert confusion.sum() == 10_000
    assert confusion.diagonal().sum() == last.result.final_correct
    assert torch.equal(confusion.sum(dim=1), images.test.labels.bincount())
    assert len(last.final.mistakes) == min(MISTAKES, 10_000 - last.result.final_correct)


def test_the_mistakes_are_those_that_cost_most_and_tell_what_the_network_saw(train, images):
    given = spec()
    *_, last = train(given, images)
    final = last.final

    z = logits(final.network, images.test.pixels)
    wrong = z.argmax(dim=1) != images.test.labels
    each = torch.nn.functional.binary_cross_entropy_with_logits(z, images.test.targets, reduction="none").sum(dim=1)
    worst = each[wrong].sort(descending=True).values[:MISTAKES]
    assert [mistake.cost for mistake in final.mistakes] == pytest.approx(worst.tolist(), rel=1e-4)
    assert all(first.cost >= second.cost for first, second in pairwise(final.mistakes))
    for mistake in final.mistakes:
        assert mistake.label == images.test.labels[mistake.image] != mistake.prediction
        assert mistake.outputs[mistake.prediction] == max(mistake.outputs)
        assert mistake.outputs == pytest.approx(z[mistake.image].sigmoid().tolist(), rel=1e-3, abs=1e-6)
        assert list(mistake.pixels) == (images.test.pixels[mistake.image] * 255).round().tolist()


def test_of_equally_bad_mistakes_the_one_with_the_lower_number_comes_first(images):
    few = Images(images.test.pixels[:200], images.test.labels[:200], images.test.targets[:200])
    saturated = torch.full((200, 10), -1e4)
    saturated[:, 3] = 1e4
    final = final_network([], few, Evaluation(0, math.nan, saturated), loss="quadratic")

    wrong = [number for number, label in enumerate(few.labels.tolist()) if label != 3]
    assert [mistake.image for mistake in final.mistakes] == wrong[:MISTAKES]
    assert {mistake.cost for mistake in final.mistakes} == {1.0}


def test_a_network_without_mistakes_has_none(images):
    right = Evaluation(10_000, 0.0, images.test.targets * 10)
    final = final_network([], images.test, right, loss="quadratic")

    assert final.mistakes == ()
    assert sum(final.confusion[digit][digit] for digit in range(10)) == 10_000


def test_what_is_kept_does_not_change_with_the_network(images):
    network = initial_network(spec(), CPU)
    digest = weights_sha256(network)
    *_, found = evaluate_in_parts(network, images.test, spec())
    final = final_network(network, images.test, found, loss="quadratic")
    with torch.no_grad():
        network[0][0].zero_()

    assert weights_sha256(final.network) == digest
    assert not any(part.requires_grad for layer in final.network for part in layer)


def test_the_file_has_the_weights_bit_for_bit_and_says_where_they_come_from(train, images, tmp_path):
    given = spec()
    *_, last = train(given, images)
    claim = claim_of(given)
    kept = model_of(claim, last.result, last.final)

    (tmp_path / "model.safetensors").write_bytes(kept.file)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        said = file.metadata()
    assert (said["format"], said["job_id"], said["spec_hash"]) == ("costcurve-model/1", "job_1", spec_hash(given))
    assert MnistSpec.model_validate_json(said["spec"]) == given
    assert ExecProfile.model_validate_json(said["exec_profile"]) == claim.profile
    assert said["weights_sha256"] == last.result.weights_sha256
    assert (int(said["final_correct"]), float(said["best_accuracy"])) == (
        last.result.final_correct,
        last.result.best_accuracy,
    )
    tensors = load(kept.file)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "weights.1": (784, 30),
        "biases.1": (30,),
        "weights.2": (30, 10),
        "biases.2": (10,),
    }
    network = [(tensors[f"weights.{number}"], tensors[f"biases.{number}"]) for number in (1, 2)]
    assert weights_sha256(network) == last.result.weights_sha256
    assert in_order(kept.file) == kept.file == model_of(claim, last.result, last.final).file
    assert (kept.confusion, kept.mistakes) == (last.final.confusion, last.final.mistakes)
