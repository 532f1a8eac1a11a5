"""Model files as ONNX, the exchange format that runtimes of all languages read."""

from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from costcurve.core.activations import ACTIVATIONS, UNIT_ACTIVATION
from costcurve.core.model_file import metadata_of
from costcurve.core.spec import DIGITS
from service.export.model_file import layers_of

# The exported models need no newer versions, and runtimes since 2022 know these (ONNX 1.12).
_OPSET = 17
_IR_VERSION = 8


def onnx_of(file: bytes) -> bytes:
    """Return the network of a safetensors file as an ONNX model.

    It has the same weights and the same metadata. A network takes `pixels` (n, 784), float32, 0 to 1. It returns its
    `outputs` (n, 10), float32, and the `digits` (n,), int64, that it reads. A neuron takes `inputs` (n, 1), float64,
    and returns its `outputs` (n, 1), float64.
    """
    layers, activation = layers_of(file), ACTIVATIONS[UNIT_ACTIVATION]
    reads_digits = layers[-1][1].shape == (DIGITS,)
    given, width = "pixels" if reads_digits else "inputs", layers[0][0].shape[0]
    kind = helper.np_dtype_to_tensor_dtype(layers[0][0].dtype)
    nodes, weights, activations = [], [], given
    for number, layer in enumerate(layers, start=1):
        names = [f"weights.{number}", f"biases.{number}"]
        weights += [numpy_helper.from_array(part, name) for part, name in zip(layer, names, strict=True)]
        z, activated = f"logits.{number}", "outputs" if number == len(layers) else f"activations.{number}"
        nodes += [
            helper.make_node("Gemm", [activations, *names], [z], name=f"layer.{number}"),
            helper.make_node(activation.onnx, [z], [activated], name=f"{activation.name}.{number}"),
        ]
        activations = activated
    outputs = [_batch("outputs", kind, len(layers[-1][1]))]
    if reads_digits:
        # ArgMax of the logits: outputs that round to 1 would tie.
        nodes.append(helper.make_node("ArgMax", [z], ["digits"], name="digits", axis=1, keepdims=0))
        outputs.append(_batch("digits", TensorProto.INT64))
    said = metadata_of(file)
    graph = helper.make_graph(nodes, said["job_id"], [_batch(given, kind, width)], outputs, weights)
    model = helper.make_model(
        graph,
        producer_name="costcurve",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    helper.set_model_props(model, said)
    onnx.checker.check_model(model, full_check=True)
    found: bytes = model.SerializeToString(deterministic=True)
    return found


def _batch(name: str, kind: int, *width: int) -> Any:
    """Return the type of an input or output with any number n of rows."""
    return helper.make_tensor_value_info(name, kind, ["n", *width])
