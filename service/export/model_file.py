"""A trained network in numpy, read from its file."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from costcurve.core.activations import UNIT_ACTIVATION
from costcurve.core.job import Job, NeuronResult
from costcurve.core.model_file import ensure_succeeded, in_order, metadata

# For each layer W (n_in, n_out) and b (n_out,): float32, of a neuron float64.
Layers: TypeAlias = Sequence[tuple[NDArray[Any], NDArray[Any]]]


def layers_of(file: bytes) -> Layers:
    """Return the layers of a model's safetensors file, from input to output."""
    tensors = load(file)
    return [(tensors[f"weights.{number}"], tensors[f"biases.{number}"]) for number in range(1, len(tensors) // 2 + 1)]


def logits(layers: Layers, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return the output layer's logits z, (n, n_out), for inputs (n, n_in).

    The inputs have the dtype of the weights.
    """
    *hidden, (weights, biases) = layers
    activations = inputs
    for each, bias in hidden:
        activations = activate(activations @ each + bias)
    return activations @ weights + biases


def sigmoid(z: NDArray[Any]) -> NDArray[Any]:
    """Return σ(z) = 1 / (1 + e^-z) without overflow, of z's dtype and shape."""
    small = np.exp(-np.abs(z))
    found: NDArray[Any] = np.where(z >= 0, 1 / (1 + small), small / (1 + small))
    return found


_ACTIVATIONS = {"sigmoid": sigmoid}
# The activation of every unit, of z's dtype and shape.
activate = _ACTIVATIONS[UNIT_ACTIVATION]


def neuron_file(job: Job) -> bytes:
    """Return a neuron's model file, made from the job's result.

    It is small enough to be made at each request.

    Raises:
        ModelNotReady: the job has not ended.
        ModelNotFound: the job failed or was cancelled.
    """
    ensure_succeeded(job.id, job.status)
    result = job.result
    if not isinstance(result, NeuronResult):
        raise TypeError(f"{job.id} did not train a neuron")
    tensors = {"weights.1": np.array([[result.final_weight]]), "biases.1": np.array([result.final_bias])}
    return in_order(save(tensors, metadata(job.id, job.spec, job.spec_hash, job.exec_profile, result)))
