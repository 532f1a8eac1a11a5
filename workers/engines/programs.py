"""Start of an engine: from specs of one shape to streams of reports."""

from collections.abc import Iterator, Sequence

import torch

from costcurve.core.spec import AnySpec, MnistSpec, NeuronSpec
from workers.engines import autograd, fused_cpu, neuron_pack
from workers.engines.base import Report, Snapshot
from workers.engines.packed_gpu import engine as packed_gpu
from workers.training.network import ImageSets


def reports(
    engine: str,
    specs: Sequence[AnySpec],
    resumes: Sequence[Snapshot | None],
    *,
    device: torch.device,
    images: ImageSets | None,
    report_interval: float,
) -> Sequence[Iterator[Report]]:
    """Return one iterator of reports for each spec; request from them in turn.

    Nothing is trained before the first report is requested.

    Args:
        engine: name of the engine that trains them.
        specs: what to train, of a shape that may be trained together.
        resumes: the snapshot that each resumes from; None starts at step 0.
        device: where to train.
        images: MNIST on `device`; None for neurons, which need no images.
        report_interval: seconds in which each should report once.
    """
    each_interval = report_interval / len(specs)

    def alone(spec: AnySpec, resume: Snapshot | None) -> Iterator[Report]:
        if isinstance(spec, NeuronSpec):
            yield from autograd.train_neuron(spec, device=device, resume=resume, report_interval=each_interval)
            return
        if images is None:
            raise ValueError("MNIST cannot be trained without images")
        if engine == fused_cpu.NAME:
            yield from fused_cpu.train_mnist(spec, images, resume=resume, report_interval=each_interval)
        else:
            yield from autograd.train_mnist(spec, images, device=device, resume=resume, report_interval=each_interval)

    if engine == neuron_pack.NAME:
        neurons = [spec for spec in specs if isinstance(spec, NeuronSpec)]
        return neuron_pack.train_pack(neurons, device=device, resumes=resumes, report_interval=report_interval)
    if engine == packed_gpu.NAME and images is not None:
        networks = [spec for spec in specs if isinstance(spec, MnistSpec)]
        return packed_gpu.train_pack(networks, images, device=device, resumes=resumes, report_interval=report_interval)
    return [alone(spec, resume) for spec, resume in zip(specs, resumes, strict=True)]
