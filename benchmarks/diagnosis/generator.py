"""Random specs of networks, and faults to put into them.

Everything drawn is a pure function of the half and the number of the base.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from pydantic import TypeAdapter

from costcurve.core.spec import DIGITS, PIXELS, AnySpec, MnistSpec, Spec

Half = Literal["A", "B"]
Strength = Literal["strong", "weak"]
Fields = Mapping[str, Any]

# Updates of a job, and how often each number is drawn; wide networks and large batches get only the first ones.
_LENGTHS = {1000: 14, 1500: 12, 2000: 16, 3000: 16, 5000: 16, 8000: 11, 15_000: 8, 40_000: 4, 150_000: 3}
_LONG = 15_000
# Effective learning rates that the sweep of a base tries first; it goes further while the best lies at the edge.
GRID = (0.1, 0.3, 1.0, 3.0, 10.0)
BEYOND = {0.1: 0.03, 10.0: 30.0}

_any_spec: TypeAdapter[AnySpec] = TypeAdapter(Spec)


@dataclass(frozen=True, slots=True)
class Fault:
    """A sound spec with one fault put in.

    `names` are the causes that explain it.
    """

    family: str
    strength: Strength
    names: tuple[str, ...]
    spec: MnistSpec


def spec_of(fields: Fields) -> MnistSpec:
    """Return the spec of these fields."""
    spec = _any_spec.validate_python(dict(fields))
    if not isinstance(spec, MnistSpec):
        raise TypeError("the benchmark trains networks only")
    return spec


def base(half: Half, number: int) -> dict[str, Any]:
    """Return the fields of a random spec without its learning rate."""
    draw = Random(f"base {half} {number}")
    [updates] = draw.choices(list(_LENGTHS), list(_LENGTHS.values()))
    is_long = updates > _LONG
    widths = (15, 60) if is_long else (15, 150)
    hidden = [_log_uniform(draw, *widths)]
    if draw.random() < 0.3:
        hidden.append(_log_uniform(draw, 15, hidden[0]))
    epochs = draw.choice((5, 8, 10))
    loss = draw.choice(("quadratic", "cross_entropy"))
    fields: dict[str, Any] = {
        "experiment": "mnist",
        "loss": loss,
        "reduction": "sum_outputs" if loss == "quadratic" else draw.choice(("sum_outputs", "mean_outputs")),
        "layers": [PIXELS, *hidden, DIGITS],
        "batch_size": draw.choice((5, 10, 10, 20) if is_long else (5, 10, 10, 20, 50, 100)),
        "init": {"scheme": draw.choice(("normal", "scaled_normal", "xavier"))},
        "epochs": epochs,
        "steps_per_epoch": updates // epochs,
        "seed": (0 if half == "A" else 1_000_000) + number,
    }
    return fields


def with_rate(fields: Fields, rate: float) -> MnistSpec:
    """Return the spec with this effective learning rate."""
    factor = DIGITS if fields.get("reduction") == "mean_outputs" else 1
    return spec_of({**fields, "learning_rate": rate * factor})


def faults(sound: MnistSpec, half: Half, number: int) -> list[Fault]:
    """Return the sound spec with one fault of each family and strength."""
    found = []
    for strength, families in _FAMILIES.items():
        for family, (names, put) in families.items():
            draw = Random(f"fault {half} {number} {family} {strength}")
            changes = put(sound, draw)
            if changes is not None:
                fields = {**sound.model_dump(mode="json", exclude={"effective_learning_rate"}), **changes}
                found.append(Fault(family, strength, names, spec_of(fields)))
    return found


def random_change(spec: MnistSpec, draw: Random) -> dict[str, Any]:
    """Return one change, drawn from the kinds of changes that a diagnosis may propose."""
    first = draw.choice(list(_MENU))
    return _MENU[first](spec, draw)


def _log_uniform(draw: Random, low: float, high: float) -> int:
    return round(low * (high / low) ** draw.random())


def _factor(low: float, high: float) -> Callable[[MnistSpec, Random], dict[str, Any]]:
    def put(spec: MnistSpec, draw: Random) -> dict[str, Any]:
        return {"learning_rate": spec.learning_rate * low * (high / low) ** draw.random()}

    return put


def _few(low: int, high: int) -> Callable[[MnistSpec, Random], dict[str, Any] | None]:
    def put(spec: MnistSpec, draw: Random) -> dict[str, Any] | None:
        if spec.total_steps > _LONG:
            return None
        return {"steps_per_epoch": max(_log_uniform(draw, low, high) // 4, 1), "epochs": 4}

    return put


def _few_by_batch(spec: MnistSpec, draw: Random) -> dict[str, Any] | None:
    """Read as many images, but in large batches."""
    batch = draw.choice((1000, 2000, 5000))
    updates = spec.total_steps * spec.batch_size // batch
    if spec.total_steps > _LONG or not 8 <= updates <= 200:
        return None
    return {"batch_size": batch, "steps_per_epoch": updates // 4, "epochs": 4}


def _wrong_outputs(low: float, high: float) -> Callable[[MnistSpec, Random], dict[str, Any] | None]:
    def put(spec: MnistSpec, draw: Random) -> dict[str, Any] | None:
        if spec.loss != "quadratic":
            return None
        return {"init": {**spec.init.model_dump(mode="json"), "output_bias": draw.uniform(low, high)}}

    return put


def _wide_outputs(spec: MnistSpec, draw: Random) -> dict[str, Any] | None:
    if spec.loss != "quadratic" or spec.init.scheme != "normal":
        return None
    std = [1.0] * (len(spec.layers) - 1)
    return {"init": {"scheme": "normal", "std": [*std[:-1], draw.uniform(3, 8)]}}


def _wide_hidden(low: float, high: float) -> Callable[[MnistSpec, Random], dict[str, Any]]:
    def put(spec: MnistSpec, draw: Random) -> dict[str, Any]:
        std = [low * (high / low) ** draw.random(), *[1.0] * (len(spec.layers) - 2)]
        return {"init": {"scheme": "normal", "std": std}}

    return put


def _alike(_spec: MnistSpec, draw: Random) -> dict[str, Any]:
    weight = draw.choice((0.0, 0.01, 0.1))
    return {"init": {"scheme": "constant", "weight": weight, "bias": 0.0} if weight else {"scheme": "zeros"}}


def _narrow(low: int, high: int) -> Callable[[MnistSpec, Random], dict[str, Any]]:
    def put(spec: MnistSpec, draw: Random) -> dict[str, Any]:
        layers = list(spec.layers)
        layers[draw.randrange(1, len(layers) - 1)] = draw.randint(low, high)
        return {"layers": layers}

    return put


def _beyond_float32(_spec: MnistSpec, draw: Random) -> dict[str, Any]:
    return {"init": {"scheme": "normal", "std": draw.choice((1e39, 1e40, 1e200))}}


def _diverging(spec: MnistSpec, draw: Random) -> dict[str, Any]:
    return {"learning_rate": spec.learning_rate * 10 ** draw.uniform(36, 39)}


_SMALL = ("learning_rate_small",)
_FEW = ("too_few_updates",)
_SATURATED = ("output_saturated_quadratic",)
_LARGE = ("learning_rate_large", "diverged")
_FAMILIES: Mapping[Strength, Mapping[str, tuple[tuple[str, ...], Callable[[MnistSpec, Random], Any]]]] = {
    "strong": {
        "learning_rate_small": (_SMALL, _factor(1 / 300, 1 / 30)),
        "learning_rate_large": (_LARGE, _factor(10, 100)),
        "diverged": (_LARGE, _diverging),
        "too_few_updates": (_FEW, _few(16, 80)),
        "large_batch": (_FEW, _few_by_batch),
        "output_saturated_quadratic": (_SATURATED, _wrong_outputs(6, 20)),
        "hidden_layer_slow": (("hidden_layer_slow",), _wide_hidden(4, 20)),
        "symmetric_init": (("symmetric_init",), _alike),
        "layer_too_narrow": (("layer_too_narrow",), _narrow(1, 3)),
        "start_not_finite": (("start_not_finite",), _beyond_float32),
    },
    "weak": {
        "learning_rate_small": (_SMALL, _factor(1 / 20, 1 / 3)),
        "learning_rate_large": (_LARGE, _factor(3, 8)),
        "too_few_updates": (_FEW, _few(80, 1000)),
        "output_saturated_quadratic": (_SATURATED, _wrong_outputs(2, 5)),
        "output_std": (_SATURATED, _wide_outputs),
        "hidden_layer_slow": (("hidden_layer_slow",), _wide_hidden(1.5, 3)),
        "layer_too_narrow": (("layer_too_narrow",), _narrow(4, 8)),
    },
}


def _other_loss(spec: MnistSpec, _draw: Random) -> dict[str, Any]:
    if spec.loss == "quadratic":
        return {"loss": "cross_entropy", "reduction": "sum_outputs"}
    return {"loss": "quadratic", "reduction": "sum_outputs"}


def _other_rate(spec: MnistSpec, draw: Random) -> dict[str, Any]:
    return {"learning_rate": spec.learning_rate * draw.choice((0.01, 0.1, 0.3, 3.0, 10.0, 100.0))}


def _other_init(_spec: MnistSpec, draw: Random) -> dict[str, Any]:
    return {"init": draw.choice(("normal", "scaled_normal", "xavier"))}


def _other_width(spec: MnistSpec, draw: Random) -> dict[str, Any]:
    width = draw.choice((16, 30, 60))
    return {"layers": [PIXELS, *[width] * (len(spec.layers) - 2), DIGITS]}


def _more_updates(spec: MnistSpec, _draw: Random) -> dict[str, Any]:
    return {"steps_per_epoch": -(-10_000 // spec.epochs)}


_MENU: Mapping[str, Callable[[MnistSpec, Random], dict[str, Any]]] = {
    "loss": _other_loss,
    "learning_rate": _other_rate,
    "init": _other_init,
    "width": _other_width,
    "updates": _more_updates,
}
FAMILIES: Sequence[str] = tuple(dict.fromkeys(family for families in _FAMILIES.values() for family in families))
