"""The article's claims, each on evidence for it and against it."""

import json
import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from costcurve.article.claims import Claim, Figure, Judgement, Measured, Verdict
from costcurve.article.contents import CLAIMS
from costcurve.article.evidence import Evidence, Start, start_of
from costcurve.article.rescue_plot import rescue_plot
from costcurve.article.spread import MAX_PAIRS, mean_difference
from tests.article.article_evidence import (
    INITS,
    SEEDS,
    as_the_article_says,
    diagnosis,
    neuron,
    rescue,
    spec_of,
    with_diagnosis,
    with_series,
)

BY_NAME = {claim.name: claim for claim in CLAIMS}
RIGHT = as_the_article_says()


def judged(name: str, evidence: Evidence) -> Judgement:
    return BY_NAME[name].judge(evidence)


def values(judgement: Judgement, figure: str) -> tuple[float, ...]:
    return next(each.values for each in judgement.measured if each.figure.name == figure)


def missed(judgement: Judgement) -> set[str]:
    """The criteria that are not met in every run."""
    return {each.figure.name for each in judgement.criteria if each.met < len(each.values)}


def replaced(evidence: Evidence, start: Start, loss: str, *runs) -> Evidence:
    others = [run for run in evidence.runs if (run.start, run.loss) != (start, loss)]
    return replace(evidence, runs=[*others, *runs])


# Trained from the good start, a neuron that is said to crawl does not.
def _as_from_the_good_start(loss: str):
    good = neuron(Start.GOOD, loss)
    return replace(good, job=good.job.model_copy(update={"spec": spec_of(Start.BAD, loss)}))


def _as_with_the_quadratic_loss():
    slow = neuron(Start.BAD, "quadratic", ["plateau"])
    return replace(slow, job=slow.job.model_copy(update={"spec": spec_of(Start.BAD, "cross_entropy")}))


# What would speak against a claim in everything, and which criteria notice.
AGAINST = {
    "good-start": (
        with_diagnosis(
            with_series(RIGHT, Start.GOOD, "quadratic", output=[0.82] * 301),
            Start.GOOD,
            "quadratic",
            diagnosis(["plateau"]),
        ),
        {"output_end", "half_way", "crawling"},
    ),
    "slow-start": (
        replaced(RIGHT, Start.BAD, "quadratic", _as_from_the_good_start("quadratic")),
        {"output_200", "slowdown", "later", "plateau"},
    ),
    "cure": (
        replaced(RIGHT, Start.BAD, "cross_entropy", _as_with_the_quadratic_loss()),
        {"output_end", "sooner", "gradient", "steepest", "plateau"},
    ),
    "never-negative": (
        with_series(
            with_series(RIGHT, Start.SCALED, "quadratic", [2], test_cost=[0.1, -1e-300, 0.1]),
            Start.BAD,
            "cross_entropy",
            cost=[-0.0, -1.0],
        ),
        {"negative"},
    ),
    "mnist-quadratic": (
        with_series(RIGHT, Start.ORDINARY, "quadratic", correct=[9000, 9434]),
        {"best"},
    ),
    "rescue-curve": (
        replace(RIGHT, rescues=[rescue(epoch, 0, before=0.95, at_the_end=0.87) for epoch in range(10)]),
        {"stuck", *(f"end_{epoch}" for epoch in range(10))},
    ),
    "mnist-cross-entropy": (
        with_series(RIGHT, Start.ORDINARY, "cross_entropy", correct=[9000, 9399]),
        {"best", "gain"},
    ),
}


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_claim_holds_where_all_is_as_the_article_says(claim: Claim):
    judgement = claim.judge(RIGHT)

    assert missed(judgement) == set()
    assert judgement.verdict is Verdict.HOLDS
    assert "{" not in judgement.sentence


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_bound_is_stated_with_its_reason_and_every_sentence_can_be_said(claim: Claim):
    judgement = claim.judge(RIGHT)
    texts = {each.figure.name: each.text for each in judgement.measured}

    assert judgement.criteria
    assert all(each.figure.why and each.figure.bound for each in judgement.criteria)
    assert len(texts) == len(claim.figures)
    assert claim.key in texts
    for sentence in (claim.holds, claim.fails):
        assert "{" not in sentence.format_map(texts)


@pytest.mark.parametrize("name", AGAINST)
def test_a_claim_does_not_hold_where_the_data_speak_against_it(name):
    evidence, criteria = AGAINST[name]
    judgement = judged(name, evidence)

    assert missed(judgement) == criteria
    assert judgement.verdict is Verdict.FAILS
    assert judgement.sentence != judged(name, RIGHT).sentence


def test_the_figures_of_the_neuron_are_the_articles():
    slow, cure = judged("slow-start", RIGHT), judged("cure", RIGHT)

    assert round(values(judged("good-start", RIGHT), "output_end")[0], 4) == 0.094
    assert round(values(slow, "output_200")[0], 4) == 0.7887
    assert values(slow, "slowdown") == (pytest.approx(56.6, rel=1e-3),)
    assert values(cure, "gradient") == (pytest.approx(56.6, rel=1e-3),)
    assert values(cure, "steepest") == (0.0,)


def test_one_negative_cost_anywhere_is_enough_and_what_was_not_recorded_is_no_cost():
    assert RIGHT.runs[-1].job.spec["experiment"] == "mnist"
    alone = replace(
        RIGHT.runs[-1], steps=RIGHT.runs[-1].steps.model_copy(update={"series": {"cost_min": [0.1, -1e-9, None]}})
    )
    judgement = judged("never-negative", replace(RIGHT, runs=[*RIGHT.runs[:-1], alone]))

    assert values(judgement, "negative") == (0.0, 1.0)
    assert values(judgement, "least_cross_entropy") == (-1e-9,)
    assert judgement.verdict is not Verdict.HOLDS


def test_every_recorded_cost_is_looked_at():
    # Four neurons of 301 points; of each seed eight networks of three epochs and two of four, training and test, and
    # of each two points by steps with mean, lowest and highest.
    networks = len(SEEDS) * (8 * 3 + 2 * 4) * 2 + len(SEEDS) * 10 * 2 * 3

    assert values(judged("never-negative", RIGHT), "costs") == (4 * 301 + networks,)


def test_a_cost_that_rises_while_the_output_comes_nearer_is_no_measure_of_error():
    errors = [0.95, 0.9, 0.5, 0.05]
    evidence = with_series(RIGHT, Start.BAD, "quadratic", output=errors, cost=[0.1, 0.3, 0.4, 0.5])
    judgement = judged("near-zero", evidence)

    assert missed(judgement) == {"reversals", "cost_right", "cost_wrong"}
    assert max(values(judgement, "reversals")) == 3
    assert judgement.verdict is Verdict.IN_PART


def test_on_mnist_a_cost_must_be_small_and_fall_where_the_accuracy_is_high():
    evidence = with_series(RIGHT, Start.ORDINARY, "cross_entropy", test_cost=[0.2, 0.3, 0.4])

    assert missed(judged("near-zero", evidence)) == {"share", "correlation"}


def test_a_gain_that_may_be_chance_is_no_gain():
    noisy = RIGHT
    for seed, best in zip(SEEDS, (9440, 9505, 9700), strict=True):
        noisy = with_series(
            noisy,
            Start.ORDINARY,
            "cross_entropy",
            [seed],
            correct=[8000, best],
            accuracy=[0.89 + (seed - 1) / 100, 0.9],
        )
    judgement = judged("mnist-better", noisy)

    assert values(judgement, "better")[0] > 0 > values(judgement, "better_low")[0]
    assert judgement.verdict is Verdict.FAILS
    assert "0.48 points (standard error 0.78 points)" in judgement.sentence


def test_one_seed_says_nothing_about_chance():
    judgement = judged("mnist-better", as_the_article_says(seeds=[0]))

    assert values(judgement, "better_low") == (-math.inf,)
    assert judgement.verdict is Verdict.FAILS
    assert "unknown" in judgement.sentence
    assert all(judged(claim.name, as_the_article_says([0])).verdict is Verdict.HOLDS for claim in CLAIMS[:7])


def test_a_hidden_layer_that_cross_entropy_cured_would_speak_against_the_first_remark():
    evidence = with_series(RIGHT, Start.SATURATED_HIDDEN, "cross_entropy", correct=[9000, 9500])
    evidence = with_diagnosis(evidence, Start.SATURATED_HIDDEN, "cross_entropy", diagnosis())
    judgement = judged("remark-hidden-layers", evidence)

    assert missed(judgement) == {"finding_cross_entropy", "finding_equal", "gain", "lost", "cured"}
    assert judgement.verdict is Verdict.IN_PART
    assert "in 3 of 3 runs" in judgement.sentence


def test_a_hidden_layer_that_was_only_slow_for_its_smaller_steps_would_too():
    evidence = with_series(RIGHT, Start.SATURATED_HIDDEN, "cross_entropy", at_equal_rate=True, correct=[9000, 9450])
    judgement = judged("remark-hidden-layers", evidence)

    assert values(judgement, "gain_equal") == (pytest.approx(0.095),) * 3
    assert missed(judgement) == {"lost_equal"}


def test_a_loss_that_matters_at_the_ordinary_start_too_would_speak_against_the_second_remark():
    evidence = with_series(RIGHT, Start.ORDINARY, "quadratic", [1], correct=[900, 900, 9100])
    evidence = replace(evidence, comparisons={**evidence.comparisons, (Start.ORDINARY, 1): diagnosis()})
    judgement = judged("remark-badly-wrong", evidence)

    assert missed(judgement) == {"sooner_ordinary", "no_difference"}
    assert judgement.verdict is Verdict.IN_PART
    assert "(missed in 1 of 3 runs)" in judgement.sentence


def test_a_loss_that_never_gets_there_is_behind_whatever_the_other_does():
    evidence = with_series(RIGHT, Start.WRONG_OUTPUTS, "quadratic", [1, 2], correct=[900, 7700])
    judgement = judged("remark-badly-wrong", evidence)

    assert values(judgement, "epochs_quadratic") == (3.0, math.inf, math.inf)
    assert values(judgement, "sooner_wrong") == (2.0, math.inf, math.inf)
    assert judgement.verdict is Verdict.HOLDS
    assert "after epoch 3, never, never" in judgement.sentence
    neither = with_series(evidence, Start.WRONG_OUTPUTS, "cross_entropy", [2], correct=[900, 900])
    assert values(judged("remark-badly-wrong", neither), "sooner_wrong") == (2.0, math.inf, 0.0)


@pytest.mark.parametrize(
    ("column", "criterion"),
    [
        ({"saturated_fraction__2": [0.1, 0.2, 0.3]}, {"saturated", "gained"}),
        ({"accuracy": [0.95, 0.95, 0.95]}, {"gained"}),
    ],
)
def test_outputs_that_do_not_saturate_or_stop_then_would_speak_against_the_third_remark(column, criterion):
    judgement = judged("remark-saturation", with_series(RIGHT, Start.ORDINARY, "cross_entropy", **column))

    assert missed(judgement) == criterion


def test_a_rescue_that_comes_too_late_would_speak_against_the_rescue_at_any_time():
    late = [rescue(epoch, seed, at_the_end=0.85 if epoch > 6 else 0.9) for epoch in range(10) for seed in SEEDS]
    judgement = judged("rescue-curve", replace(RIGHT, rescues=late))

    assert missed(judgement) == {"end_7", "end_8", "end_9"}
    assert values(judgement, "price") == (pytest.approx(0.05),) * 3
    with pytest.raises(LookupError, match="at epoch 9"):
        judged("rescue-curve", replace(RIGHT, rescues=late[:-3]))


def test_the_rescue_curve_is_drawn_with_its_spread_over_seeds():
    one_worse = [rescue(epoch, seed, at_the_end=0.9 - seed / 10) for epoch in range(10) for seed in SEEDS]
    root = ElementTree.fromstring(rescue_plot(replace(RIGHT, rescues=one_worse)))  # noqa: S314 - drawn here
    shapes = [element.tag.rpartition("}")[2] for element in root.iter()]

    assert (shapes.count("polygon"), shapes.count("polyline"), shapes.count("circle")) == (2, 2, (10 + 9) * len(SEEDS))
    heights = {float(circle.get("cy")) for circle in root.iter() if circle.tag.endswith("circle")}
    assert len(heights) == 1 + len(SEEDS)
    assert any("3 seeds" in (element.text or "") for element in root.iter())


def test_evidence_that_is_missing_is_an_error_and_no_verdict():
    alone = replace(RIGHT, runs=[run for run in RIGHT.runs if run.start is not Start.ORDINARY])

    with pytest.raises(LookupError, match="no run with the loss quadratic from the ordinary start"):
        judged("mnist-quadratic", alone)


@pytest.mark.parametrize("start", Start)
def test_a_start_is_known_by_its_spec(start):
    assert start_of(spec_of(start, "quadratic")) is start


def test_a_start_that_is_not_the_articles_is_refused():
    other = spec_of(Start.ORDINARY, "quadratic") | {"init": {**INITS[Start.ORDINARY], "std": 2.0}}

    with pytest.raises(ValueError, match="none of the article's starts"):
        start_of(other)


def test_a_mean_difference_has_students_interval():
    found = mean_difference([-44.0, -18.0, -16.0])

    assert found.mean == -26
    assert found.standard_error == pytest.approx(9.018, rel=1e-3)
    assert (found.low, found.high) == (pytest.approx(-64.8, rel=1e-3), pytest.approx(12.8, rel=1e-2))
    assert mean_difference([1.0] * MAX_PAIRS).low == 1


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("%", 0.9551, "95.51 %"),
        ("points", -0.0026, "−0.26 points"),
        ("points", math.inf, "unknown"),
        ("epochs", math.inf, "never"),
        ("epochs", 14.0, "14"),
        ("ahead", math.inf, "all the rest"),
        ("ahead", -1.0, "−1"),
        ("images", 9558.0, "9,558"),
        ("times", 918.5, "918"),
        ("times", 56.6167, "56.62"),
        ("yes", 1.0, "yes"),
        ("", 110644.0, "110,644"),
        ("", 0.0, "0"),
        ("", 0.094, "0.094"),
    ],
)
def test_values_are_told_in_their_unit(unit, value, text):
    assert Figure("f", "f", lambda _: [value], unit).text(value) == text


@pytest.mark.parametrize(
    ("unit", "given", "text"),
    [
        ("epochs", (14.0, math.inf, math.inf), "14, never, never"),
        ("epochs", (2.0, 2.0, 2.0), "2"),
        ("epochs", (1.0, 2.0, 3.0, 4.0, math.inf), "1 to never"),
        ("points", (-0.023, -0.0243), "−2.30, −2.43 points"),
        ("%", (0.1, 0.2, 0.3, 0.4, 0.5), "10.00 to 50.00 %"),
        ("yes", (1.0, 1.0, 1.0, 1.0, 0.0), "yes in 4 of 5"),
    ],
)
def test_few_values_are_told_one_by_one_and_many_by_their_span(unit, given, text):
    assert Measured(Figure("f", "f", lambda _: given, unit), given).text == text


def test_what_a_machine_reads_is_json_and_says_never_as_null():
    evidence = with_series(RIGHT, Start.WRONG_OUTPUTS, "quadratic", [1], correct=[900, 7700])
    claim = BY_NAME["remark-badly-wrong"]
    document = claim.judge(evidence).document({plot.name: ["job_1"] for plot in claim.plots})

    figures = {figure["name"]: figure for figure in json.loads(json.dumps(document, allow_nan=False))["figures"]}
    assert figures["epochs_quadratic"]["values"] == [3.0, None, 3.0]
    assert figures["sooner_wrong"]["met"] == [True, True, True]
    assert document["verdict"] == "holds"
