"""`costcurve cure`, against a service with a worker."""

import json
import re
from collections.abc import Callable, Iterator

import pytest

from costcurve import Client
from tests.helpers.commands import Ran, runner


@pytest.fixture
def client(at_work) -> Iterator[Client]:
    with Client(at_work.url) as client:
        yield client


@pytest.fixture
def run(at_work, capsys, monkeypatch) -> Callable[..., Ran]:
    monkeypatch.setenv("COSTCURVE_URL", at_work.url)
    return runner(capsys)


@pytest.fixture
def slow(client) -> str:
    """The id of a neuron that learned slowly."""
    return client.wait(client.submit(preset="neuron-slow-quadratic").id).id


def test_a_cure_prints_one_sentence_and_both_cells(run, client, slow):
    code = client.diagnosis(slow).findings[0].code
    ran = run("cure", slow)

    assert ran.code == 0
    sentence, empty, header, as_it_is, changed = ran.out.splitlines()
    assert sentence.startswith("The change cures it: the distance of the output from the target at the end is 0.012")
    assert empty == ""
    assert re.split(r"\s{2,}", header.strip()) == ["CHANGED", "TARGET DISTANCE", "MEAN TARGET DISTANCE", "SUCCEEDED"]
    assert re.split(r"\s{2,}", as_it_is.strip()) == ["as it is", "0.2028", "0.7677", "1/1"]
    assert re.fullmatch(r"changed +loss cross_entropy.* +0\.012\d* +0\.\d+ +1/1", changed.strip())
    assert re.fullmatch(rf"swp_\w+ tests {code} with 1 seed\n", ran.err)


def test_the_diagnosis_says_what_came_out_of_the_trial(run, slow):
    before, _, after = (run(command, slow) for command in ("diagnose", "cure", "diagnose"))

    assert "tried (swp_" not in before.out
    assert re.search(r"tried \(swp_\w+\): The change\s+cures", " ".join(after.out.split()))


def test_the_diagnosis_says_how_often_it_was_tried_and_what_came_out_before(run, slow):
    for _ in range(3):
        run("cure", slow)
    said = " ".join(run("diagnose", slow).out.split())

    assert re.search(r"tried 3 times; the newest \(swp_\w+\): The change cures", said)
    assert re.search(r"Before it: cured \(swp_\w+\), cured \(swp_\w+\)\.", said)


def test_with_json_the_trial_is_printed_with_its_verdict(run, slow):
    found = json.loads(run("cure", slow, "--json", "--repeats", "2").out)

    assert (found["repeats"], found["trial"]["job_id"]) == (2, slow)
    assert (found["verdict"]["outcome"], found["verdict"]["method"], found["verdict"]["n"]) == ("cured", "exact", 2)


def test_with_watch_the_progress_is_shown(run, slow):
    ran = run("cure", slow, "--watch")

    assert ran.code == 0
    assert re.search(r"swp_\w+  \d of 2 ended: ", ran.err)


def test_until_decided_seeds_are_added_and_each_look_is_printed_with_its_interval(run, client):
    random_start = {"experiment": "neuron", "loss": "quadratic", "init": {"scheme": "normal", "std": 3.0}}
    slow = (client.wait(client.submit({**random_start, "seed": seed}).id).id for seed in range(50))
    job = next(each for each in slow if any(finding.cure for finding in client.diagnosis(each).findings))
    ran = run("cure", job, "--repeats", "2", "--until-decided")

    # Two seeds decide nothing at this level; what more seeds say is the same in every run.
    first, *others = re.findall(r"look (\d) of at most 4, (\d+) seeds, 99\.375 % interval: (\w+)", ran.err)
    assert (ran.code, first) == (0, ("1", "2", "undecided"))
    assert [(look, seeds) for look, seeds, _ in others] == [("2", "4"), ("3", "8"), ("4", "16")][: len(others)]
    assert others
    assert all(outcome == "undecided" for _, _, outcome in others[:-1])
    assert "Each of both figures at each of at most 4 looks may err with 0.625 %." in ran.out


def test_a_finding_that_the_diagnosis_does_not_have_is_a_usage_error(run, slow):
    ran = run("cure", slow, "--finding", "start_not_finite")

    assert (ran.code, ran.out) == (2, "")
    assert "/finding: the diagnosis does not have this finding; it has output_saturated_quadratic" in ran.err


def test_a_job_whose_diagnosis_proposes_nothing_has_no_cure(run, client):
    job = client.wait(client.submit(preset="neuron-good-start").id).id
    assert all(finding.cure is None for finding in client.diagnosis(job).findings)
    ran = run("cure", job)

    assert (ran.code, ran.out) == (1, "")
    assert "no finding of the diagnosis proposes a change" in ran.err


def test_a_job_that_does_not_exist_is_not_found(run):
    assert run("cure", "job_none").code == 3
