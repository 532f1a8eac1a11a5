"""Named specs and sweeps: the article's experiments, then further ones on MNIST."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from costcurve.core.losses import ARTICLE_LOSSES
from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec


@dataclass(frozen=True, slots=True)
class Preset:
    """Named spec, with one sentence on what it shows."""

    name: str
    description: str
    spec: AnySpec

    @property
    def own_fields(self) -> dict[str, Any]:
        """Fields of the spec that the preset sets.

        When a client overrides a field, all others keep following the defaults.
        """
        return {name: self.spec.model_dump(mode="json", include={name})[name] for name in self.spec.model_fields_set}


def _neuron(**fields: Any) -> AnySpec:
    return NeuronSpec.model_validate({"experiment": "neuron", **fields})


def _mnist(**fields: Any) -> AnySpec:
    return MnistSpec.model_validate({"experiment": "mnist", **fields})


_BADLY_WRONG = {"scheme": "constant", "weight": 2.0, "bias": 2.0}
# Slow with the quadratic loss on every seed, and no digit is lost: docs/experiments.md, benchmarks/slow_start.py.
_SLOW_START = {
    "init": {"scheme": "normal", "std": [1.0, 0.1], "output_bias": 12.0},
    "learning_rate": 1.0,
    "reduction": "sum_outputs",
}
_BIASED_OUTPUTS = {"scheme": "normal", "output_bias": 10.0}

_ALL = (
    Preset(
        "neuron-good-start",
        "One neuron from (0.6, 0.9), quadratic loss: it learns at once.",
        _neuron(loss="quadratic", init={"scheme": "constant", "weight": 0.6, "bias": 0.9}),
    ),
    Preset(
        "neuron-slow-quadratic",
        "One neuron from (2, 2), quadratic loss: badly wrong, and slow, because σ′(z) is tiny there.",
        _neuron(loss="quadratic", init=_BADLY_WRONG),
    ),
    Preset(
        "neuron-slow-cross-entropy",
        "The same start with cross-entropy: the slowdown is gone.",
        _neuron(loss="cross_entropy", init=_BADLY_WRONG),
    ),
    Preset("mnist-quadratic", "The article's network on MNIST with the quadratic loss.", _mnist(loss="quadratic")),
    Preset("mnist-cross-entropy", "The same network with cross-entropy.", _mnist(loss="cross_entropy")),
    Preset(
        "mnist-scaled-init",
        "Cross-entropy from weights scaled by 1/√n_in, so that no hidden unit starts saturated.",
        _mnist(loss="cross_entropy", init="scaled_normal"),
    ),
    Preset(
        "mnist-slow-quadratic",
        "MNIST started badly wrong (every output near 1) with the quadratic loss: it learns nothing for some epochs.",
        _mnist(loss="quadratic", **_SLOW_START),
    ),
    Preset(
        "mnist-slow-cross-entropy",
        "The same bad start with cross-entropy at the same effective rate: it learns at once.",
        _mnist(loss="cross_entropy", **_SLOW_START),
    ),
    Preset(
        "mnist-slow-hidden",
        "A saturated hidden layer (std 10): slow with cross-entropy too, which helps slow outputs only.",
        _mnist(loss="cross_entropy", init={"scheme": "normal", "std": [10.0, 1.0]}),
    ),
    Preset(
        "mnist-biased-quadratic",
        "Outputs near 1 by biases alone, at the article's rate, with the quadratic loss: slow on some seeds only.",
        _mnist(loss="quadratic", init=_BIASED_OUTPUTS),
    ),
    Preset(
        "mnist-biased-cross-entropy",
        "The same start with cross-entropy, whose effective rate is a tenth.",
        _mnist(loss="cross_entropy", init=_BIASED_OUTPUTS),
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}


@dataclass(frozen=True, slots=True)
class SweepPreset:
    """Named sweep, with one sentence on what it shows."""

    name: str
    description: str
    spec: Mapping[str, Any]
    grid: Mapping[str, list[Any]]
    variants: Sequence[Mapping[str, Any]] = ()
    repeats: int = 1

    def overridden_by(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the preset's submission body with the given fields replaced.

        Fields of `spec` and of `grid` are replaced one by one.
        """
        merged = {name: {**getattr(self, name), **given.get(name, {})} for name in ("spec", "grid")}
        return {"repeats": self.repeats, "variants": [dict(each) for each in self.variants], **given, **merged}


RESCUE_CURVE = "rescue-curve"
RESCUE_EPOCHS = 10

_SWEEPS = (
    SweepPreset(
        "article-neuron",
        "One neuron from the article's two starts, with both losses.",
        spec={"experiment": "neuron"},
        grid={
            "init": [
                {"scheme": "constant", "weight": 0.6, "bias": 0.9},
                {"scheme": "constant", "weight": 2.0, "bias": 2.0},
            ],
            "loss": [*ARTICLE_LOSSES],
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
            "loss": [*ARTICLE_LOSSES],
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
    SweepPreset(
        RESCUE_CURVE,
        "MNIST started badly wrong, trained for ten epochs: the quadratic loss at first, and cross-entropy at the same "
        "effective learning rate from each of the epochs 1 to 9 on, and from the start.",
        spec={"experiment": "mnist", "loss": "quadratic", "init": _BIASED_OUTPUTS, "epochs": RESCUE_EPOCHS},
        grid={
            "schedule": [
                [{"from_epoch": epoch, "loss": "cross_entropy", "reduction": "sum_outputs"}]
                for epoch in range(1, RESCUE_EPOCHS)
            ]
        },
        # A schedule changes nothing before epoch 1: from epoch 0 on it is another loss.
        variants=[{"loss": "cross_entropy", "reduction": "sum_outputs"}],
        repeats=3,
    ),
)

SWEEP_PRESETS: dict[str, SweepPreset] = {preset.name: preset for preset in _SWEEPS}
