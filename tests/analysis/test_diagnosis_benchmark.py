"""The benchmark of the diagnosis, in short: two bases with their faults; the full one is `make bench-diagnosis`."""

import pytest

from benchmarks.diagnosis.cases import measured, runs_of, swept
from benchmarks.diagnosis.scores import LEAST_COST, is_harmful, is_right, is_won_back, summary, text
from workers.engines import fused_cpu

pytestmark = pytest.mark.slow

# Bases of the half that set the thresholds, with jobs of 1,000 updates.
BASES = (12, 18)


@pytest.mark.skipif(fused_cpu.why_missing() is not None, reason="the compiled engine is missing")
def test_faults_in_sound_specs_are_named_and_repaired_and_kept_runs_are_not_trained_again(images, tmp_path):
    cases = []
    for number in BASES:
        runs = runs_of(tmp_path, "A", number, images)
        cases += measured(swept("A", number, runs), runs)
    faults = [case for case in cases if case.family is not None and case.sound - case.accuracy >= LEAST_COST]

    assert len(cases) == 16
    assert len(faults) >= 8
    assert all(is_right(case) and is_won_back(case) and not is_harmful(case) for case in faults)
    assert [case.named for case in cases if case.family is None] == [None, None]

    again = []
    for number in BASES:
        kept = runs_of(tmp_path, "A", number, None)
        again += measured(swept("A", number, kept), kept)
    assert again == cases
    assert "sound specs" in text(summary(cases), cases)[0]


@pytest.mark.skipif(fused_cpu.why_missing() is not None, reason="the compiled engine is missing")
def test_a_run_that_was_cut_off_is_trained_again_and_the_others_are_kept(images, tmp_path):
    spec = swept_spec(images, tmp_path)
    path = tmp_path / "A" / "0018.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:100])

    with pytest.raises(LookupError):
        runs_of(tmp_path, "A", 18, None).of(spec)
    assert len(path.read_bytes().splitlines()) == len(lines) - 1


def swept_spec(images, folder):
    """Return the spec of the last run of a sweep."""
    return swept("A", 18, runs_of(folder, "A", 18, images)).sweep[-1].spec
