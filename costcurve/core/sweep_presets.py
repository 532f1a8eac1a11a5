"""Ready sweeps by name: the article's experiments beside each other, every loss from every start."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class SweepPreset:
    """A named sweep, with one sentence on what it shows."""

    name: str
    description: str
    spec: Mapping[str, Any]
    grid: Mapping[str, list[Any]]
    repeats: int = 1

    def overridden_by(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The body of a submission: the preset's, but for what is given. Of spec and grid field by field."""
        merged = {name: {**getattr(self, name), **given.get(name, {})} for name in ("spec", "grid")}
        return {"repeats": self.repeats, **given, **merged}


_LOSSES = ["quadratic", "cross_entropy"]

_ALL = (
    SweepPreset(
        "article-neuron",
        "One neuron from the article's two starts, with both losses.",
        spec={"experiment": "neuron"},
        grid={
            "init": [
                {"scheme": "constant", "weight": 0.6, "bias": 0.9},
                {"scheme": "constant", "weight": 2.0, "bias": 2.0},
            ],
            "loss": _LOSSES,
        },
    ),
    SweepPreset(
        "article-mnist",
        "The article's network on MNIST with both losses: from its own start, with badly wrong outputs, with a "
        "saturated hidden layer, and from weights scaled by 1/√n_in.",
        spec={"experiment": "mnist"},
        grid={
            "init": [
                "normal",
                {"scheme": "normal", "output_bias": 10.0},
                {"scheme": "normal", "std": [10.0, 1.0]},
                "scaled_normal",
            ],
            "loss": _LOSSES,
        },
        repeats=3,
    ),
    SweepPreset(
        "article-equal-rates",
        "The network with cross-entropy at the effective learning rate that the quadratic loss has: from its own "
        "start, and with a saturated hidden layer.",
        spec={"experiment": "mnist", "loss": "cross_entropy", "reduction": "sum_outputs"},
        grid={"init": ["normal", {"scheme": "normal", "std": [10.0, 1.0]}]},
        repeats=3,
    ),
)

SWEEP_PRESETS: dict[str, SweepPreset] = {preset.name: preset for preset in _ALL}
