"""What stands above a picture of one job."""

from jobs.job import Job
from jobs.spec import AnySpec, NeuronSpec


def title_of(job: Job) -> str:
    """The job's name; of one without a name, what it trains."""
    return job.name or _summary(job.spec)


def _summary(spec: AnySpec) -> str:
    what = "One sigmoid neuron" if isinstance(spec, NeuronSpec) else "MNIST " + "-".join(map(str, spec.layers))
    changed = {key: value for key, value in spec.init.model_dump().items() if key != "scheme"}
    init = ", ".join(f"{key} {value}" for key, value in changed.items() if value != 0)
    scheme = f"{spec.init.scheme} init" + (f" ({init})" if init else "")
    return f"{what}: {spec.loss} loss, {scheme}, learning rate {spec.learning_rate:g}"
