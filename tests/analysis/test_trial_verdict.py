"""Verdicts of trials: what the pairs show, and how often they show what is not there."""

import random
from collections.abc import Callable, Sequence

import pytest

from costcurve.analysis.trial_statement import statement_of
from costcurve.analysis.trial_verdict import CHANCE_ACCURACY, Measure, Run, Verdict, least_pairs, verdict_of

NETWORK = Measure("final_accuracy", 0.95, CHANCE_ACCURACY)
COURSE = Measure("mean_accuracy", 0.94, CHANCE_ACCURACY)
NEURON = Measure("target_distance", 0.0, 1.0)
DIVERGED = Run(None, has_diverged=True)
CANCELLED = Run(None)
SILENT = {"no_difference", "undecided"}


def runs(*pairs: tuple[float, float]) -> list[tuple[Run, Run]]:
    return [(Run(one), Run(other)) for one, other in pairs]


def of(as_it_is: list[float], changed: list[float], **options: object) -> Verdict:
    return verdict_of(runs(*zip(as_it_is, changed, strict=True)), NETWORK, **options)


def test_a_change_that_wins_back_nearly_all_cures():
    found = of([0.620, 0.622, 0.618, 0.621, 0.619], [0.944, 0.945, 0.946, 0.945, 0.945])

    assert (found.outcome, found.end.metric, found.method, found.n, found.level) == (
        "cured",
        "final_accuracy",
        "t",
        5,
        0.95,
    )
    assert found.end.mean_difference == pytest.approx(0.325)
    # By hand: s = 0.002, t(4) = 2.7764, s t / √5 = 0.002483.
    assert found.end.interval == pytest.approx((0.325 - 0.002483, 0.325 + 0.002483), abs=2e-6)
    assert found.end.won_back == pytest.approx(0.325 / 0.33)
    assert statement_of(found) == (
        "The change cures it: the test accuracy at the end is 94.50 % instead of 62.00 %, a difference of +32.5 points "
        "(95 % interval +32.3 to +32.7 points, Student's t, 5 seeds); it wins back 98 % of what was lost, with "
        "95.00 % as attainable."
    )


def test_a_change_that_wins_back_less_helps():
    found = of([0.30, 0.32, 0.31], [0.70, 0.71, 0.72])

    assert (found.outcome, found.end.won_back) == ("helped", pytest.approx(0.40 / 0.64))
    assert statement_of(found).startswith("The change helps, and does not cure it: ")


def test_what_is_attainable_decides_between_cured_and_helped():
    as_it_is, changed = [0.30, 0.32, 0.31], [0.70, 0.71, 0.72]
    pairs = runs(*zip(as_it_is, changed, strict=True))

    assert verdict_of(pairs, Measure("final_accuracy", 0.715, 0.1)).outcome == "cured"
    # Within one point of it, however little was lost.
    assert (
        verdict_of(runs((0.93, 0.95), (0.93, 0.951), (0.93, 0.949)), Measure("final_accuracy", 0.955, 0.1)).outcome
        == "cured"
    )


def test_a_change_that_learns_worse_harms():
    assert of([0.94, 0.95, 0.94], [0.80, 0.81, 0.79]).outcome == "harmful"


def test_a_difference_within_one_point_is_none_even_if_it_is_certain():
    found = of([0.940, 0.941, 0.939, 0.940], [0.945, 0.946, 0.944, 0.945])

    assert found.end.interval[0] > 0
    assert found.outcome == "no_difference"
    assert statement_of(found).endswith(", within ± 1 point.")


def test_a_certain_gain_of_uncertain_size_is_undecided_until_all_of_the_interval_matters():
    found = of([0.940, 0.920, 0.930], [0.945, 0.940, 0.943])

    assert found.end.interval[0] < 0.01 < found.end.interval[1]
    assert found.outcome == "undecided"


def test_an_interval_across_zero_and_beyond_the_margin_is_undecided():
    found = of([0.30, 0.60, 0.45], [0.60, 0.50, 0.70])

    assert found.outcome == "undecided"
    assert statement_of(found).endswith("; more seeds may decide.")


def test_too_few_seeds_decide_nothing():
    one, two = of([0.3], [0.9]), of([0.3, 0.3], [0.9, 0.9])

    assert (one.outcome, one.end.interval, one.end.mean_difference) == ("undecided", None, pytest.approx(0.6))
    assert (two.outcome, two.end.interval) == ("undecided", pytest.approx((0.6, 0.6)))
    assert "(one seed); at least 3 seeds are needed." in statement_of(one)
    assert of([0.3] * 3, [0.9] * 3).outcome == "cured"


def test_the_least_number_of_seeds_bounds_the_agreement_by_chance_of_runs_that_learn_or_do_not():
    assert [least_pairs(0.05 / looks) for looks in (1, 2, 4)] == [3, 4, 4]
    for looks in (1, 2, 3, 4):
        assert 2 * 0.25 ** least_pairs(0.05 / looks) <= 0.05 / looks < 2 * 0.25 ** (least_pairs(0.05 / looks) - 1)


def test_a_neuron_without_random_numbers_is_decided_exactly_by_one_pair():
    found = verdict_of(runs((0.2028, 0.0120)), NEURON, is_deterministic=True)

    assert (found.outcome, found.method, found.n) == ("cured", "exact", 1)
    assert found.end.interval == pytest.approx((-0.1908, -0.1908))
    assert (
        "is 0.012 instead of 0.2028, a difference of −0.191 (exact, as no number depends on the seed)"
        in statement_of(found)
    )
    assert verdict_of(runs((0.2, 0.2)), NEURON, is_deterministic=True).outcome == "no_difference"
    assert verdict_of(runs((0.1, 0.3)), NEURON, is_deterministic=True).outcome == "harmful"


def test_equal_differences_of_random_runs_have_an_interval_without_width():
    found = of([0.1] * 5, [0.1] * 5)

    assert (found.outcome, found.end.interval, found.method) == ("no_difference", (0.0, 0.0), "t")


def test_a_diverged_run_counts_as_chance_and_the_statement_says_so():
    pairs = [(DIVERGED, Run(0.94)), (DIVERGED, Run(0.95)), (Run(0.2), Run(0.95))]
    found = verdict_of(pairs, NETWORK)

    assert (found.outcome, found.n, found.diverged) == ("cured", 3, (2, 0))
    assert found.end.means[0] == pytest.approx(0.4 / 3)
    assert "Diverged, and counted as 10.00 %, chance: 2 runs as it is, 0 runs with the change." in statement_of(found)


def test_a_diverged_neuron_counts_as_far_from_the_target_as_an_output_can_be():
    found = verdict_of([(DIVERGED, Run(0.01))], Measure("target_distance", 0.0, 0.7), is_deterministic=True)

    assert (found.end.means, found.outcome) == ((0.7, 0.01), "cured")
    assert "counted as the largest distance: 1 run as it is" in statement_of(found)


def test_a_seed_without_two_results_is_left_out():
    pairs = [*runs((0.6, 0.94), (0.61, 0.95), (0.6, 0.95)), (Run(0.6), CANCELLED), (CANCELLED, DIVERGED)]
    found = verdict_of(pairs, NETWORK)

    assert (found.outcome, found.n, found.left_out, found.diverged) == ("cured", 3, 2, (0, 0))
    assert "2 seeds are left out: a run was cancelled" in statement_of(found)


@pytest.mark.parametrize("pairs", [[], [(CANCELLED, CANCELLED)]])
def test_a_trial_without_a_pair_is_undecided(pairs):
    found = verdict_of(pairs, NETWORK)

    assert (found.outcome, found.n, found.end.means, found.end.mean_difference) == ("undecided", 0, None, None)
    assert statement_of(found).startswith("Undecided: no pair of runs can be compared.")


def test_several_looks_share_the_error():
    found = of([0.60, 0.61, 0.62, 0.60], [0.94, 0.95, 0.93, 0.94], looks=4)

    assert found.level == pytest.approx(0.9875)
    assert statement_of(found).endswith("Each of at most 4 looks may err with 1.25 %.")
    narrow = of([0.60, 0.61, 0.62, 0.60], [0.94, 0.95, 0.93, 0.94]).end.interval
    assert found.end.interval[0] < narrow[0] < narrow[1] < found.end.interval[1]


def courses(*pairs: tuple[tuple[float, float], tuple[float, float]]) -> list[tuple[Run, Run]]:
    """Pairs of runs, each with its figure at the end and its mean over the course."""
    return [(Run(one[0], mean=one[1]), Run(other[0], mean=other[1])) for one, other in pairs]


def both(end: list[tuple[float, float]], course: list[tuple[float, float]], **options: object) -> Verdict:
    """The verdict of these pairs at the end, and over the course."""
    pairs = [((e[0], c[0]), (e[1], c[1])) for e, c in zip(end, course, strict=True)]
    return verdict_of(courses(*pairs), NETWORK, COURSE, **options)


ALIKE = [(0.9417, 0.9454), (0.9433, 0.9460), (0.9420, 0.9450), (0.9430, 0.9461), (0.9425, 0.9455)]
SOONER = [(0.820, 0.941), (0.823, 0.943), (0.821, 0.942), (0.822, 0.942), (0.822, 0.943)]


def test_a_change_that_learns_at_once_cures_although_both_end_alike():
    found = both(ALIKE, SOONER)

    assert (found.outcome, found.deciding.metric, found.level) == ("cured", "mean_accuracy", 0.975)
    assert [judged.outcome for judged in found.judgements] == ["no_difference", "cured"]
    # By hand: the differences have a standard deviation of 0.000548, and t(4) at 97.5 % is 3.4954.
    assert found.deciding.interval == pytest.approx((0.1206 - 0.000856, 0.1206 + 0.000856), abs=2e-6)
    assert statement_of(found) == (
        "The change cures it, as it learns at once: the test accuracy, averaged over all epochs, is 94.22 % instead of "
        "82.16 %, a difference of +12.1 points (97.5 % interval +12 to +12.1 points, Student's t, 5 seeds); it wins "
        "back 102 % of what was lost, with 94.00 % as attainable. At the end it is 94.56 % instead of 94.25 %, within "
        "± 1 point."
    )


def test_a_change_that_learns_somewhat_sooner_helps_and_one_that_learns_later_harms():
    somewhat = [(before, before + 0.05) for before, _ in SOONER]
    assert both(ALIKE, somewhat).outcome == "helped"
    assert statement_of(both(ALIKE, somewhat)).startswith("The change helps, and does not cure it, as it learns sooner")

    later = [(after, before) for before, after in SOONER]
    assert both(ALIKE, later).outcome == "harmful"
    assert statement_of(both(ALIKE, later)).startswith("The change harms, as it learns later: the test accuracy, ")


def test_where_the_end_shows_a_difference_the_course_does_not_decide():
    lost = [(end, 0.5 + 0.01 * seed) for seed, (end, _) in enumerate(ALIKE)]
    found = both(lost, SOONER)

    assert (found.outcome, found.deciding) == ("harmful", found.end)
    assert "Averaged over all epochs it is 94.22 % instead of 82.16 %, +12.1 points (+12 to +12.1 points)." in (
        statement_of(found)
    )


def test_an_end_that_is_undecided_and_may_be_worse_leaves_the_verdict_undecided():
    worse = [(0.94, 0.94 + change) for change in (-0.02, 0.02, -0.02, 0.01, 0.0)]
    better = [(0.93, 0.93 + change) for change in (0.01, 0.025, 0.012, 0.02, 0.015)]

    assert (both(worse, SOONER).outcome, both(worse, SOONER).deciding.metric) == ("undecided", "final_accuracy")
    # Here the end may be better, and is not worse.
    assert both(better, SOONER).end.outcome == "undecided"
    assert (both(better, SOONER).outcome, both(better, SOONER).deciding.metric) == ("cured", "mean_accuracy")


def test_no_difference_takes_both_figures():
    same = [(0.93, 0.931), (0.932, 0.931), (0.931, 0.932), (0.93, 0.93)]
    unclear = [(0.93, 0.95), (0.92, 0.90), (0.94, 0.93), (0.91, 0.92)]

    found = both(ALIKE[:4], same)
    assert (found.outcome, found.deciding) == ("no_difference", found.end)
    assert statement_of(found).endswith(
        "points, Student's t, 4 seeds), within ± 1 point. Averaged over all epochs it is 93.10 % instead of 93.08 %, "
        "within ± 1 point."
    )
    found = both(ALIKE[:4], unclear)
    assert (found.outcome, found.deciding) == ("undecided", found.course)
    assert statement_of(found).startswith("Undecided whether it learns sooner: the test accuracy, averaged over all ")


def test_two_figures_share_the_error_and_need_four_seeds():
    found = both(ALIKE[:3], SOONER[:3], looks=4)

    assert (found.outcome, found.level) == ("undecided", pytest.approx(1 - 0.05 / 8))
    assert "Each of both figures at each of at most 4 looks may err with 0.625 %." in statement_of(found)
    assert "at least 4 seeds are needed" in statement_of(both([(0.1, 0.9)] * 3, SOONER[:3]))
    assert both([(0.1, 0.9)] * 4, SOONER[:4]).outcome == "cured"


def test_the_course_is_not_judged_unless_all_runs_have_it_and_a_diverged_one_counts_as_chance():
    pairs = courses(*[((0.94, 0.8), (0.94, 0.93))] * 4)

    assert verdict_of([*pairs, (Run(0.94), Run(0.94, mean=0.93))], NETWORK, COURSE).course is None
    assert verdict_of([*pairs, (CANCELLED, Run(0.94))], NETWORK, COURSE).course.outcome == "cured"
    found = verdict_of([*pairs[:3], (DIVERGED, Run(0.94, mean=0.93))], NETWORK, COURSE)
    assert found.course.means == pytest.approx(((3 * 0.8 + 0.1) / 4, 0.93))


def _course_of(draw: random.Random, end: float) -> float:
    """Mean accuracies of networks that begin to learn at an epoch of ten which the seed decides."""
    late = draw.choice([0, 1, 4, 9])
    return (0.1 * late + end * (10 - late)) / 10


def _sound(draw: random.Random) -> float:
    """Final accuracies of the article's network: 95 %, from seed to seed ± 0.15 points."""
    return draw.gauss(0.950, 0.0015)


def _struggling(draw: random.Random) -> float:
    """Accuracies of a network that loses digits, as the seed has it: none, one or two of ten."""
    return 0.945 - 0.095 * draw.choice([0, 0, 1, 2]) + draw.gauss(0, 0.004)


def _all_or_nothing(draw: random.Random) -> float:
    """Half of the seeds learn, the others stay at chance: the worst case for a mean."""
    return draw.gauss(0.945, 0.002) if draw.random() < 0.5 else draw.gauss(0.1, 0.002)


def _skewed(draw: random.Random) -> float:
    """Slow networks, caught on the way at very different places."""
    return min(0.1 + draw.expovariate(3.0), 0.95)


def _run(draw: random.Random, distribution: Callable[[random.Random], float]) -> Run:
    end = distribution(draw)
    return Run(end, mean=_course_of(draw, end))


def _told_apart(
    distribution: Callable[[random.Random], float],
    stages: Sequence[int],
    *,
    trials: int,
    course: Measure | None = None,
) -> int:
    """The number of trials of equal specs that say anything but `no_difference` or `undecided`."""
    draw, told_apart = random.Random(20), 0
    for _ in range(trials):
        pairs: list[tuple[Run, Run]] = []
        for repeats in stages:
            missing = repeats - len(pairs)
            pairs = pairs + [(_run(draw, distribution), _run(draw, distribution)) for _ in range(missing)]
            outcome = verdict_of(pairs, NETWORK, course, looks=len(stages)).outcome
            if outcome != "undecided":
                break
        told_apart += outcome not in SILENT
    return told_apart


@pytest.mark.parametrize("distribution", [_sound, _struggling, _skewed])
@pytest.mark.parametrize("stages", [(3,), (5,), (10,), (5, 10, 20, 40)])
def test_equal_specs_are_told_apart_in_at_most_five_percent_of_trials(distribution, stages):
    for course in (None, COURSE):
        assert _told_apart(distribution, stages, trials=2_000, course=course) <= 0.05 * 2_000


@pytest.mark.parametrize("stages", [(3,), (5,), (10,), (5, 10, 20, 40)])
def test_runs_that_learn_or_do_not_are_the_worst_case_and_stay_at_five_percent(stages):
    for course in (None, COURSE):
        told_apart = _told_apart(_all_or_nothing, stages, trials=2_000, course=course)
        # The true share is 5 % in the worst of these stages; of 2,000 trials its standard error is 0.49 %.
        assert told_apart <= (0.05 + 3 * 0.0049) * 2_000


def test_a_real_difference_is_found():
    draw = random.Random(22)
    found = sum(
        verdict_of(runs(*((_struggling(draw), _sound(draw)) for _ in range(20))), NETWORK).outcome
        in {"cured", "helped"}
        for _ in range(200)
    )
    assert found >= 180
