"""Diagnosis of a network that learns MNIST."""

from collections.abc import Iterator
from itertools import accumulate, pairwise
from math import inf
from typing import Any

from costcurve.analysis.diagnosis.findings import Diagnosis, Finding, diagnosis_of, figure
from costcurve.analysis.diagnosis.thresholds import (
    LINEAR_CLASSIFIER,
    MOSTLY_SATURATED,
    PASSED_ON,
    PLATEAU_EPOCHS,
    STANDING_STILL,
    UPDATE_SHARE,
)
from costcurve.analysis.diagnosis.training_course import NetworkCourse, Point, Stretch, is_stuck, longest
from costcurve.core.losses import ARTICLE_LOSSES
from costcurve.core.spec import TEST_IMAGES
from costcurve.core.spec_diff import altered


def diagnose_network(course: NetworkCourse) -> Diagnosis:
    """Return the diagnosis of a network's training up to the latest epoch."""
    findings = [
        *_output_saturated(course),
        *_hidden_layer_slow(course),
        *_plateau(course),
        *_symmetric_init(course),
        *_saturated_but_learning(course),
        *_loss_makes_no_difference(course),
    ]
    if not course.points:
        return diagnosis_of(findings, otherwise="Nothing is recorded yet: no epoch has ended.")
    best = max(course.accuracies)
    return diagnosis_of(findings, otherwise=f"Nothing stands out: the best accuracy is {best:.2%}.")


def _output_saturated(course: NetworkCourse) -> Iterator[Finding]:
    stretch = course.longest(is_stuck)
    if course.spec.loss != "quadratic" or stretch is None:
        return
    first, last = (course.points[epoch]["correct"] for epoch in (stretch.first, stretch.last))
    deltas, gradients = (
        {loss: course.mean(f"{figures}.{loss}", stretch) for loss in ARTICLE_LOSSES}
        for figures in ("output_delta", "output_gradient_norm")
    )
    factor = deltas["cross_entropy"] / deltas["quadratic"] if deltas["quadratic"] else inf
    yield Finding(
        "output_saturated_quadratic",
        "warning",
        f"{course.span(stretch)} learning stood still at the output: units that are badly wrong are saturated.",
        f"Of {TEST_IMAGES:,} test images {first:,.0f} were read correctly after the first of these epochs and "
        f"{last:,.0f} after the last. The quadratic loss multiplies each error by σ′(z), which is tiny there. The "
        f"mean |δ| at the output was {figure(deltas['quadratic'])}; with cross-entropy it would have been "
        f"{figure(deltas['cross_entropy'])} at the same weights, {figure(factor)} times as much. The norm of the "
        f"output layer's gradient was {figure(gradients['quadratic'])}; with cross-entropy it would have been "
        f"{figure(gradients['cross_entropy'])}. Cross-entropy cures this.",
        {
            **_epochs(course, stretch),
            "correct": {"first": first, "last": last},
            "slowdown_factor": factor,
            "slowdown_factor_at_start": None if course.start is None else course.start["slowdown_factor"],
            "output_delta": deltas,
            "output_gradient_norm": gradients,
        },
        altered(course.spec, loss="cross_entropy"),
    )


def _hidden_layer_slow(course: NetworkCourse) -> Iterator[Finding]:
    output = len(course.spec.layers) - 1
    for layer in range(1, output):

        def is_slow(point: Point, layer: int = layer) -> bool:
            share = point[f"update_ratio.{layer}"] / (point[f"update_ratio.{output}"] or 1.0)
            return point[f"mean_sigmoid_prime.{layer}"] < PASSED_ON and share < UPDATE_SHARE

        stretch = course.longest(is_slow)
        if stretch is None:
            continue
        saturated, slope = (
            course.mean(f"{name}.{layer}", stretch) for name in ("saturated_fraction", "mean_sigmoid_prime")
        )
        ratios = {number: course.mean(f"update_ratio.{number}", stretch) for number in (layer, output)}
        yield Finding(
            "hidden_layer_slow",
            "warning",
            f"{course.span(stretch)} hidden layer {layer} hardly learned: its units are saturated.",
            f"{saturated:.0%} of its outputs are saturated, near 0 or 1. Its mean σ′(z) is {figure(slope)}, where "
            "0.25 is the largest possible, so almost no gradient passes through. A step changes its weights by "
            f"{ratios[layer]:.1e} of their norm, and the output layer's by {ratios[output]:.1e}. Cross-entropy cures "
            "slow outputs, not slow hidden layers: with either loss the gradient of a hidden layer has a σ′(z) of its "
            "own. Smaller initial weights cure this: they keep the units out of saturation.",
            {
                "layer": layer,
                **_epochs(course, stretch),
                "saturated_fraction": saturated,
                "mean_sigmoid_prime": slope,
                "update_ratio": ratios[layer],
                "output_update_ratio": ratios[output],
                "loss": course.spec.loss,
            },
            altered(course.spec, init=_smaller(course)),
        )


def _smaller(course: NetworkCourse) -> dict[str, Any]:
    """Return an init that draws weights from N(0, 1/n_in).

    The z of a unit then stays near 0 … 1 for any number of inputs.
    """
    return {"scheme": "scaled_normal", "output_bias": course.spec.init.output_bias}


def _plateau(course: NetworkCourse) -> Iterator[Finding]:
    best = list(accumulate(course.accuracies, max))
    is_still = [after - before < STANDING_STILL and after < LINEAR_CLASSIFIER for before, after in pairwise(best)]
    found = longest(is_still)
    if found is None or len(found) + 1 < PLATEAU_EPOCHS:
        return
    stretch = Stretch(found.first, found.last + 1)  # the plateau begins at the epoch before the first small gain
    first, last = best[stretch.first], best[stretch.last]
    yield Finding(
        "plateau",
        "warning",
        f"{course.span(stretch)} no epoch added {STANDING_STILL:.0%} or more to the best accuracy.",
        f"The best accuracy was {first:.2%} after the first of these epochs and {last:.2%} after the last. A linear "
        f"classifier reaches {LINEAR_CLASSIFIER:.0%}: the network has more to learn, but does not learn it.",
        {**_epochs(course, stretch), "best_accuracy": {"first": first, "last": last}},
    )


def _symmetric_init(course: NetworkCourse) -> Iterator[Finding]:
    latest = course.points[-1] if course.points else course.start
    for layer, width in enumerate(course.spec.layers[1:-1], start=1):
        if latest is None or width == 1 or (units := int(latest[f"distinct_units.{layer}"])) > 1:
            continue
        yield Finding(
            "symmetric_init",
            "warning",
            f"The {width} units of hidden layer {layer} work as {units}: they started alike and stay alike.",
            "All of them get the same input and the same gradient with either loss, so no step makes them differ. "
            "A random init does.",
            {"layer": layer, "units": width, "effective_units": units},
            altered(course.spec, init="scaled_normal"),
        )


def _saturated_but_learning(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if the network learns with saturated outputs.

    This is the article's third remark: cross-entropy does not prevent saturation, it keeps a saturated output learning.
    """
    if course.spec.loss != "cross_entropy" or not course.points:
        return
    metric = f"saturated_fraction.{len(course.spec.layers) - 1}"
    accuracies = course.accuracies
    if course.starts_stuck and course.start is not None and accuracies[-1] >= LINEAR_CLASSIFIER:
        yield Finding(
            "saturated_but_learning",
            "info",
            "Outputs that are badly wrong start saturated, but the network learns.",
            f"{course.start[metric]:.0%} of the outputs are saturated before the first update; after epoch 0 the "
            f"accuracy is {accuracies[0]:.2%}. Cross-entropy's δ, a − y, does not contain σ′(z). The quadratic loss's "
            f"mean |δ| would have been {figure(course.start['slowdown_factor'])} times smaller at the start, and "
            "learning would have stood still.",
            {
                "saturated_fraction": {"start": course.start[metric], "end": course.points[-1][metric]},
                "slowdown_factor_at_start": course.start["slowdown_factor"],
                "accuracy": {"first": accuracies[0], "last": accuracies[-1]},
            },
            altered(course.spec, loss="quadratic"),
        )
        return
    stretch = course.longest(lambda point: point[metric] >= MOSTLY_SATURATED)
    if stretch is None or (gained := max(accuracies) - accuracies[stretch.first]) < STANDING_STILL:
        return
    yield Finding(
        "saturated_but_learning",
        "info",
        f"{course.span(stretch)} most outputs were saturated, but the network continued to learn.",
        f"On average {course.mean(metric, stretch):.0%} of them had σ′(z) < 0.01. The best accuracy is {gained:.2%} "
        f"above that after epoch {stretch.first}. Cross-entropy does not prevent saturation. A saturated output that "
        "is right has nothing more to learn. One that is wrong continues to learn, because δ = a − y does not contain "
        "σ′(z).",
        {
            **_epochs(course, stretch),
            "saturated_fraction": course.mean(metric, stretch),
            "accuracy": {"first": accuracies[stretch.first], "best": max(accuracies)},
        },
    )


def _loss_makes_no_difference(course: NetworkCourse) -> Iterator[Finding]:
    if (
        course.spec.loss not in ARTICLE_LOSSES
        or course.starts_stuck is not False
        or course.start is None
        or course.longest(is_stuck) is not None
    ):
        return
    factor = course.start["slowdown_factor"]
    [other] = {*ARTICLE_LOSSES} - {course.spec.loss}
    yield Finding(
        "loss_makes_no_difference",
        "info",
        "The start is not badly wrong, so the other loss should make no difference.",
        f"At the start cross-entropy's mean |δ| at the output is {figure(factor)} times that of the quadratic loss, "
        "as in any network that learns well. The outputs are never saturated where they are wrong, and the loss "
        "matters only there. Otherwise such a factor acts like a factor of the learning rate.",
        {
            "slowdown_factor_at_start": factor,
            "output_error_at_start": course.start["output_delta.cross_entropy"],
            "largest_slowdown_factor": max([factor, *(point["slowdown_factor"] for point in course.points)]),
        },
        altered(course.spec, loss=other),
    )


def _epochs(course: NetworkCourse, stretch: Stretch) -> dict[str, Any]:
    has_ended = not course.reaches_now(stretch)
    return {"from_epoch": stretch.first, "to_epoch": stretch.last, "has_ended": has_ended}
