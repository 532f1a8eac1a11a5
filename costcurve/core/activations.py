"""Activations by name. `workers/training/activations.py` has their functions in torch, `service/export/` in numpy."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ActivationInfo:
    """An activation, and the ONNX operator that computes it."""

    name: str
    onnx: str


ACTIVATIONS: Mapping[str, ActivationInfo] = {
    activation.name: activation for activation in (ActivationInfo("sigmoid", onnx="Sigmoid"),)
}

# The activation of every unit. All losses are of sigmoid outputs.
UNIT_ACTIVATION = "sigmoid"
