"""Causes that lie in the start of a network: its figures before the first update, and its shape."""

from collections.abc import Iterator

from costcurve.analysis.diagnosis.findings import Finding, figure
from costcurve.analysis.diagnosis.network_repairs import init_repair, width_repair
from costcurve.analysis.diagnosis.thresholds import GAP, NARROW, SLOW_HIDDEN_START
from costcurve.analysis.diagnosis.training_course import NetworkCourse, Point, missing
from costcurve.core.curve import is_sound
from costcurve.core.errors import StartNotFinite
from costcurve.core.spec_diff import own_fields


def start_not_finite(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if a figure was not finite before any update.

    The learning rate is then not to blame, and no other metric means anything.
    """
    metrics = [name for name, value in (course.start or {}).items() if not is_sound(name, value)]
    has_failed_at_once = course.failure is not None and course.failure.code == StartNotFinite.code
    if not metrics and not has_failed_at_once:
        return
    named = f" (not finite: {', '.join(metrics[:3])}{', …' if len(metrics) > 3 else ''})" if metrics else ""
    yield Finding(
        "start_not_finite",
        "error",
        f"The start is not finite: initial weights, or values computed from them, exceed the range of float32{named}.",
        "No meaningful update was made, so the learning rate is not to blame. The largest float32 number is 3.4e38; "
        f"the init is {own_fields(course.spec).get('init', 'the default')}. A smaller init would test this.",
        {"metrics": metrics, "init": course.spec.init.model_dump(mode="json")},
        init_repair(course),
        "certain",
    )


def symmetric_init(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding for the first hidden layer whose units are all alike."""
    latest = course.points[-1] if course.points else course.start
    for layer, width in enumerate(course.spec.layers[1:-1], start=1):
        if latest is None or width == 1 or (units := int(latest[f"distinct_units.{layer}"])) > 1:
            continue
        if course.start is not None and course.start[f"distinct_units.{layer}"] > 1:
            continue
        yield Finding(
            "symmetric_init",
            "warning",
            f"The {width} units of hidden layer {layer} work as {units}: they started alike and stay alike.",
            "All of them get the same input and the same gradient with either loss, so no update makes them differ. "
            "A random init would test this.",
            {"layer": layer, "units": width, "effective_units": units},
            init_repair(course),
            "certain",
        )
        return


def layer_too_narrow(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding if a hidden layer is too narrow for ten digits, and accuracy is missing."""
    hidden = course.spec.layers[1:-1]
    if not hidden or min(hidden) > NARROW or course.gap < GAP:
        return
    width, layer = min(hidden), hidden.index(min(hidden)) + 1
    yield Finding(
        "layer_too_narrow",
        "warning",
        f"Hidden layer {layer} has only {width} unit{'s' if width > 1 else ''}: too few to tell ten digits apart well.",
        f"{missing(course)} All that the later layers learn passes through this layer. A wider layer would test this.",
        {"layer": layer, "units": width, **course.shortfall},
        width_repair(course),
        "certain" if width < NARROW // 3 else "high",
    )


def hidden_layer_slow(course: NetworkCourse) -> Iterator[Finding]:
    """Yield a finding for the first hidden layer that starts saturated, if accuracy is missing."""
    if course.start is None or course.gap < GAP:
        return
    for layer in starts_slow(course.start):
        slope = course.start[f"mean_sigmoid_prime.{layer}"]
        saturated, ratio = (course.start[f"{name}.{layer}"] for name in ("saturated_fraction", "update_ratio"))
        yield Finding(
            "hidden_layer_slow",
            "warning",
            f"Hidden layer {layer} learns slowly: its units start saturated.",
            f"{missing(course)} Before the first update {saturated:.0%} of the layer's outputs are saturated, near 0 "
            f"or 1. Its mean σ′(z) is {figure(slope)}, where 0.25 is the largest possible, so little gradient passes "
            "through. With either loss the gradient of a hidden layer has a σ′(z) of its own. Smaller initial weights "
            "would test this.",
            {
                "layer": layer,
                "saturated_fraction": saturated,
                "mean_sigmoid_prime": slope,
                "update_ratio": ratio,
                "loss": course.spec.loss,
                **course.shortfall,
            },
            init_repair(course),
            "high" if slope < SLOW_HIDDEN_START / 2 else "low",
        )
        return


def starts_slow(start: Point) -> list[int]:
    """Return the hidden layers, counted from 1, that start saturated."""
    slopes = [start[name] for name in start if name.startswith("mean_sigmoid_prime.")]
    return [layer for layer, slope in enumerate(slopes[:-1], start=1) if slope < SLOW_HIDDEN_START]
