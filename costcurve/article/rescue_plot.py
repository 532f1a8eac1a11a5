"""Plot of the rescue curve as SVG: the accuracy at the end by the epoch of the change, with its spread over seeds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import fmean

from costcurve.article.evidence import Evidence, Rescue

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 64, 60
# Colors that differ for every kind of color vision (Okabe and Ito).
_END, _BEFORE = "#0072B2", "#D55E00"


@dataclass(frozen=True, slots=True)
class _Line:
    """One accuracy by the epoch of the change: a value for each seed at each epoch of `at`."""

    name: str
    color: str
    at: Sequence[int]
    values: Sequence[Sequence[float]]


def rescue_plot(evidence: Evidence) -> bytes:
    """Return the rescue curve as an SVG document.

    A line is the mean over the seeds, its band reaches from the lowest to the highest, a dot is one seed.
    """
    epochs = sorted({rescue.from_epoch for rescue in evidence.rescues})
    later = [epoch for epoch in epochs if epoch > 0]
    lines = [
        _line("at the end", _END, evidence, epochs, lambda rescue: rescue.at_the_end),
        _line("with the quadratic loss, before the change", _BEFORE, evidence, later, lambda rescue: rescue.before),
    ]
    seeds = len(lines[0].values[0])
    title = f"MNIST from badly wrong outputs, {seeds} seed{'s' if seeds > 1 else ''}: mean, lowest and highest"
    parts = [_text(_WIDTH / 2, 22, title, anchor="middle"), *_axes(epochs), *_legend(lines)]
    parts += [part for line in lines for part in _drawn(line, epochs)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
    head += f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">'
    white = f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    return "\n".join([head, white, *parts, "</svg>\n"]).encode()


def _line(
    name: str, color: str, evidence: Evidence, epochs: Sequence[int], measure: Callable[[Rescue], float]
) -> _Line:
    values = [[measure(rescue) for rescue in evidence.rescued(epoch)] for epoch in epochs]
    return _Line(name, color, epochs, values)


def _x(epoch: float, epochs: Sequence[int]) -> float:
    share = (epoch - epochs[0] + 0.5) / (epochs[-1] - epochs[0] + 1)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(accuracy: float) -> float:
    return _TOP + (1 - accuracy) * (_HEIGHT - _TOP - _BOTTOM)


def _drawn(line: _Line, epochs: Sequence[int]) -> list[str]:
    xs = [_x(epoch, epochs) for epoch in line.at]
    highest, lowest = [max(each) for each in line.values], [min(each) for each in line.values]
    outline = [*zip(xs, highest, strict=True), *reversed(list(zip(xs, lowest, strict=True)))]
    means = zip(xs, map(fmean, line.values), strict=True)
    dots = [(x, value) for x, values in zip(xs, line.values, strict=True) for value in values]
    return [
        f'<polygon points="{_points(outline)}" fill="{line.color}" opacity="0.15"/>',
        f'<polyline points="{_points(means)}" fill="none" stroke="{line.color}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{_y(value):.1f}" r="2.5" fill="{line.color}"/>' for x, value in dots),
    ]


def _points(places: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{_y(value):.1f}" for x, value in places)


def _axes(epochs: Sequence[int]) -> list[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(_text(_LEFT - 8, y + 4, str(percent), anchor="end"))
    parts += [_text(_x(epoch, epochs), bottom + 20, str(epoch), anchor="middle") for epoch in epochs]
    parts.append(_text((_LEFT + right) / 2, bottom + 42, "first epoch with cross-entropy", anchor="middle"))
    middle = (_TOP + bottom) / 2
    label = _text(20, middle, "accuracy on the test images (%)", anchor="middle")
    parts.append(f'<g transform="rotate(-90 20 {middle:.1f})">{label}</g>')
    return parts


def _legend(lines: Sequence[_Line]) -> list[str]:
    parts = []
    for number, line in enumerate(lines):
        x = _LEFT + 150 * number
        parts.append(f'<line x1="{x}" y1="42" x2="{x + 24}" y2="42" stroke="{line.color}" stroke-width="3"/>')
        parts.append(_text(x + 30, 46, line.name, anchor="start"))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
