"""Initialization schemes that a spec may name for weights and biases.

costcurve/analysis/initializers.py draws the values.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from costcurve.core.validation import Number, StrictModel, bad_value

Scheme = Literal["normal", "scaled_normal", "xavier", "constant", "zeros"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
StandardDeviation = Annotated[Number, Field(ge=0)]


class _Init(StrictModel):
    output_bias: Number = Field(
        default=0.0, description="Added to the last layer's biases, to start the network badly wrong."
    )


def _std_form(value: object) -> str:
    return "per_layer" if isinstance(value, list | tuple) else "number"


class NormalInit(_Init):
    """Weights and biases drawn from N(0, std²)."""

    scheme: Literal["normal"] = "normal"
    std: Annotated[
        Annotated[StandardDeviation, Tag("number")]
        | Annotated[tuple[StandardDeviation, ...], Field(strict=False, fail_fast=True, min_length=1), Tag("per_layer")],
        Discriminator(_std_form),
    ] = Field(default=1.0, description="Standard deviation: one number, or one for each layer of weights.")

    def layer_std(self, layer: int) -> float:
        """Return the standard deviation of layer `layer`, counted from 1."""
        return self.std[layer - 1] if isinstance(self.std, tuple) else self.std


class ScaledNormalInit(_Init):
    """Weights drawn from N(0, 1/n_in), and biases from N(0, 1)."""

    scheme: Literal["scaled_normal"] = "scaled_normal"


class XavierInit(_Init):
    """Weights drawn from Glorot's uniform distribution, U(±√(6/(n_in + n_out))). Biases are 0."""

    scheme: Literal["xavier"] = "xavier"


class ConstantInit(_Init):
    """The same value for every weight, and one for every bias.

    The defaults are the article's good start of one neuron.
    """

    scheme: Literal["constant"] = "constant"
    weight: Number = 0.6
    bias: Number = 0.9


class ZerosInit(_Init):
    """The value 0 for every weight and every bias."""

    scheme: Literal["zeros"] = "zeros"


def _from_name(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value not in SCHEMES:
        raise bad_value(f"must be one of {', '.join(SCHEMES)}, or an object with a scheme")
    return {"scheme": value}


AnyInit = NormalInit | ScaledNormalInit | XavierInit | ConstantInit | ZerosInit
Init = Annotated[
    Annotated[AnyInit, Field(discriminator="scheme")],
    BeforeValidator(_from_name, json_schema_input_type=Scheme | Annotated[AnyInit, Field(discriminator="scheme")]),
]


_BY_SCHEME: Mapping[str, Any] = {
    "normal": NormalInit,
    "scaled_normal": ScaledNormalInit,
    "xavier": XavierInit,
    "constant": ConstantInit,
    "zeros": ZerosInit,
}


def restored_init(stored: Mapping[str, Any]) -> AnyInit:
    """Restore an init from its stored JSON without applying today's limits."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()}
    init: AnyInit = _BY_SCHEME[stored["scheme"]].model_construct(**fields)
    return init
