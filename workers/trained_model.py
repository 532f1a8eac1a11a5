"""A trained network as it is kept with its job."""

from safetensors.torch import save
from torch import Tensor

from costcurve.core.job import Claim, MnistResult
from costcurve.core.model_file import TrainedModel, in_order, metadata
from workers.training.evaluation import FinalNetwork


def model_of(claim: Claim, result: MnistResult, final: FinalNetwork) -> TrainedModel:
    """What is kept of the network with which a claim's job ended."""
    tensors: dict[str, Tensor] = {}
    for number, (weights, biases) in enumerate(final.network, start=1):
        tensors |= {f"weights.{number}": weights, f"biases.{number}": biases}
    said = metadata(claim.job_id, claim.spec, claim.spec_hash, claim.profile, result)
    return TrainedModel(in_order(save(tensors, said)), final.confusion, final.mistakes)
